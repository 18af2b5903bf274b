"""Dictionaries that evaluations build for themselves: planted, class units, untrained twins."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from namesae.dictionaries import Listed, built_folder, find_dictionary, shipped_folder
from namesae.models import Say
from namesae.settings import Settings
from sae.card import read_card
from sae.fingerprint import fingerprint
from tools.digest import digest

if TYPE_CHECKING:
    from torch import Tensor

UNTRAINED = "-untrained"
STAMP_FILE = "built-from.txt"
"""Digest of what a dictionary was built from; another one, and it is built anew."""
PICTURES = 256
SEED = 0
"""Of whatever is random in a dictionary that is built."""

Build = Callable[[Path], object]


class Recipe(NamedTuple):
    """How a dictionary is built, and from what."""

    build: Callable[[Path, int], object]
    """Into a folder, with a seed."""
    models: tuple[str, ...]
    """Folders of the sandbox's models that it is built of."""
    version: int = 1
    """Of what is built of them."""
    seeded: bool = True
    """Whether NAME@SEED is another."""


def _planted(folder: Path, seed: int) -> object:
    from sandbox.planting import plant

    return plant(folder, seed=seed)


def _undrawable(folder: Path, seed: int) -> object:
    from sandbox.planting import plant_undrawable

    return plant_undrawable(folder, seed=seed)


def _classes(folder: Path, seed: int) -> object:
    from sandbox.planting import sandbox_classes

    return sandbox_classes(folder)


BUILT: dict[str, Recipe] = {
    "planted": Recipe(_planted, ("clip",), version=2),
    "planted-undrawable": Recipe(_undrawable, ("clip", "sd")),
    "classes": Recipe(_classes, ("vit",), version=2, seeded=False),
}
"""Dictionaries by name that are built when an evaluation first asks for them; NAME@SEED with another seed."""
_SEEDED = re.compile(r"(.+)@([1-9][0-9]{0,8})")


def find_or_build(name: str, settings: Settings, *, say: Say) -> Listed:
    """A dictionary by name or folder, built now where it is one of these. Errors as find_dictionary."""
    base, seed = _base_and_seed(name)
    if base in BUILT:
        recipe = BUILT[base]
        sources = [str(shipped_folder() / model) for model in recipe.models]
        made = [fingerprint(source) for source in sources]
        stamp = digest(sources=sources, models=made, seed=seed, version=recipe.version)
        place = built_folder(settings) / name
        _ensure(place, lambda folder: recipe.build(folder, seed), stamp=stamp, say=say)
    elif name.endswith(UNTRAINED):
        twin_of(find_dictionary(name.removesuffix(UNTRAINED), settings), settings)
    return find_dictionary(name, settings)


def _base_and_seed(name: str) -> tuple[str, int]:
    """NAME and SEED of NAME@SEED where that is built, else the name as it is and the usual seed."""
    parts = _SEEDED.fullmatch(name)
    is_seeded = parts is not None and parts[1] in BUILT and BUILT[parts[1]].seeded
    return (parts[1], int(parts[2])) if parts is not None and is_seeded else (name, SEED)


def twin_of(listed: Listed, settings: Settings) -> str:
    """The name of a dictionary's untrained twin, built now where there is none of these weights."""
    assert listed.folder is not None
    name, trained = f"{listed.folder.name}{UNTRAINED}", listed.folder
    stamp = digest(trained=str(trained), weights=read_card(trained).weights, seed=SEED)
    _ensure(built_folder(settings) / name, lambda place: _twin(listed, place, settings), stamp=stamp)
    return name


def _twin(listed: Listed, folder: Path, settings: Settings) -> object:
    from sae.untrained import untrained_twin

    assert listed.folder is not None
    seen = _activations(listed, settings)
    return untrained_twin(listed.folder, folder, seed=SEED, activations=seen)


def _activations(listed: Listed, settings: Settings) -> Tensor:
    """What the dictionary encodes of some probe pictures: thresholds are set so that as many fire."""
    from namesae.real_models import probe_gallery
    from sae.activations import open_reader

    assert listed.folder is not None
    gallery = probe_gallery(listed, settings)
    reader = open_reader(listed.folder)
    pictures = [gallery.picture(image) for image in gallery.images[:PICTURES]]
    return reader.inputs(reader.backbone.preprocess(pictures))


def _ensure(folder: Path, build: Build, *, stamp: str, say: Say = lambda _: None) -> None:
    """Build what is not there, or was built from something else; beside the place, and moved there whole."""
    known = folder / STAMP_FILE
    if known.is_file() and known.read_text() == stamp:
        return
    say(f"Building dictionary {folder.name}, once.")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    partial.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    build(partial)
    (partial / STAMP_FILE).write_text(stamp)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        partial.rename(folder)
    except OSError:
        # Another process was first.
        shutil.rmtree(partial)
