"""One way out for every dictionary: written for another library, read back, compared, then put in place."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sae.card import Origin
from sae.dictionary import SparseDictionary
from sae.errors import BadDictionary, UnfitRequest
from sae.exports.folders import write_learning, write_prisma, write_saelens, write_sparsify
from sae.exports.round_trip import TOLERANCE, difference
from sae.exports.single_files import write_msae, write_saev, write_torch
from sae.loading import load

Write = Callable[[SparseDictionary, Path, Origin | None], None]
"""Into an empty folder. BadDictionary where the library has no form for something."""


class Target(NamedTuple):
    """A form that dictionaries can be written in."""

    write: Write
    form: str
    """What there is then."""
    one_file: bool = False
    """Whether the path given is of the file and not of a folder around it."""


TARGETS: dict[str, Target] = {
    "saelens": Target(write_saelens, "a folder: cfg.json, sae_weights.safetensors"),
    "sparsify": Target(write_sparsify, "a folder: cfg.json, sae.safetensors"),
    "dictionary_learning": Target(write_learning, "a folder: config.json, ae.pt"),
    "prisma": Target(write_prisma, "a folder: config.json, n_images_N.pt"),
    "saev": Target(write_saev, "a file, JSON line and torch file", one_file=True),
    "msae": Target(write_msae, "a folder with a file whose name is its configuration"),
    "torch": Target(write_torch, "a torch file of weights and configuration", one_file=True),
}


class Exported(NamedTuple):
    """What was written."""

    path: Path
    """To give to whatever loads it: the folder or the file."""
    difference: float
    """Largest |x^ - x^'| of random activations, after reading it back."""


def export(
    dictionary: SparseDictionary, target: Path, format: str, *, origin: Origin | None = None
) -> Exported:
    """Write a dictionary for another library at a path where nothing is yet.

    It appears only after it was read back and its reconstructions were the same within TOLERANCE (of the
    largest, where that exceeds 1). BadDictionary says what the format cannot express.
    """
    chosen = TARGETS.get(format)
    if chosen is None:
        raise UnfitRequest(f"Format {format!r} is unknown; have {', '.join(TARGETS)}.")
    _refuse_existing(target, chosen)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{os.getpid()}-{secrets.token_hex(4)}-{target.name}")
    scratch.mkdir()
    try:
        chosen.write(dictionary, scratch, origin)
        found = _compared(dictionary, scratch, format)
        (_only_file(scratch) if chosen.one_file else scratch).replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Exported(target, found)


def _compared(dictionary: SparseDictionary, folder: Path, format: str) -> float:
    found = difference(dictionary.to("cpu"), load(folder).dictionary)
    if not found <= TOLERANCE:
        raise BadDictionary(
            f"The dictionary written as {format} reconstructs differently when read back, by {found:.2g}, "
            f"more than {TOLERANCE:g}; choose another format."
        )
    return found


def _only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def _refuse_existing(target: Path, chosen: Target) -> None:
    if target.is_file() or (target.is_dir() and (chosen.one_file or any(target.iterdir()))):
        raise UnfitRequest(f"{target} exists already; give a path where nothing is.")
