"""A checkpoint without what only its training needed: weights and configuration stay."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sae.errors import BadDictionary, UnfitRequest
from sae.exports.export import export
from sae.exports.round_trip import TOLERANCE, difference
from sae.formats.container import Bag, open_container
from sae.loading import Loaded, load

SPENT = re.compile(r"optim|sched|criterion|grad_scaler|^scaler|rng|loader|^loss_fn", re.IGNORECASE)
"""Names of what is needed to go on training, and for nothing else."""
KINDS = ("torch-zip", "torch-legacy", "torch-gzip")


class Cleaned(NamedTuple):
    """What was written."""

    path: Path
    removed: tuple[str, ...]
    """What was left out, by name."""
    before: int
    """Bytes."""
    after: int
    rewritten: bool
    """Whether it is in the form of a plain torch file, because its own form did not stand alone."""


def clean(path: Path, target: Path, *, flavor: str | None = None, k: int | None = None) -> Cleaned:
    """Write a torch checkpoint anew with weights and configuration alone, loadable with weights_only.

    It appears only after it was read back as the same dictionary. Objects of other classes become plain
    settings; where the file then no longer says by itself what it is, it is written as sae.exports does.
    BadDictionary where it is no torch checkpoint or ``target`` exists.
    """
    loaded = load(path, flavor=flavor, k=k)
    contents = open_container(loaded.path)
    if contents.kind not in KINDS:
        raise UnfitRequest(f"{path} is a {contents.kind} file, which holds weights alone; use it as it is.")
    if target.exists():
        raise UnfitRequest(f"{target} exists already; give a path where nothing is.")
    removed: list[str] = []
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{os.getpid()}-{secrets.token_hex(4)}-{target.name}")
    scratch.mkdir()
    try:
        made = scratch / target.name
        torch.save(_kept(contents.tree, removed), made)
        rewritten = not _is_same(loaded, made, flavor=flavor, k=k)
        if rewritten:
            made.unlink()
            export(loaded.dictionary, made, "torch")
        made.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    sizes = loaded.path.stat().st_size, target.stat().st_size
    return Cleaned(target, tuple(removed), *sizes, rewritten)


def _is_same(loaded: Loaded, made: Path, *, flavor: str | None, k: int | None) -> bool:
    try:
        again = load(made, flavor=flavor, k=k)
    except BadDictionary:
        return False
    return again.format == loaded.format and difference(loaded.dictionary, again.dictionary) <= TOLERANCE


def _kept(node: Any, removed: list[str]) -> Any:
    """A tree without what is spent, of plain values alone."""
    if isinstance(node, Bag):
        return _kept(node.attributes, removed) if node.attributes else node.name
    if isinstance(node, dict):
        removed += [name for name in node if SPENT.search(name)]
        return {name: _kept(value, removed) for name, value in node.items() if not SPENT.search(name)}
    if isinstance(node, list):
        return [_kept(value, removed) for value in node]
    # A clone: a view would bring the whole of its storage along.
    return node.detach().clone() if isinstance(node, Tensor) else node
