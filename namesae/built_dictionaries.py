"""Dictionaries that evaluations build for themselves: planted, class units, untrained twins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from namesae.dictionaries import Listed, built_folder, find_dictionary
from namesae.models import Say
from namesae.settings import Settings
from sae.card import CARD_FILE, read_card

if TYPE_CHECKING:
    from torch import Tensor

UNTRAINED = "-untrained"
TWIN_FILE = "twin-of.txt"
"""Sum of the weights whose twin a folder holds."""
PICTURES = 256
SEED = 0
"""Of whatever is random in a dictionary that is built."""

Build = Callable[[Path], object]


def _planted(folder: Path) -> object:
    from sandbox.planting import plant

    return plant(folder, seed=SEED)


def _classes(folder: Path) -> object:
    from sandbox.planting import sandbox_classes

    return sandbox_classes(folder)


BUILT: dict[str, Build] = {"planted": _planted, "classes": _classes}
"""Dictionaries by name that are built when an evaluation first asks for them."""


def find_or_build(name: str, settings: Settings, *, say: Say) -> Listed:
    """A dictionary by name or folder, built now where it is one of these. Errors as find_dictionary."""
    folder = built_folder(settings) / name
    if not (folder / CARD_FILE).is_file():
        if name in BUILT:
            say(f"Building dictionary {name}, once.")
            _build(folder, BUILT[name])
        elif name.endswith(UNTRAINED):
            twin_of(find_dictionary(name.removesuffix(UNTRAINED), settings), settings)
    return find_dictionary(name, settings)


def twin_of(listed: Listed, settings: Settings) -> str:
    """The name of a dictionary's untrained twin, built now where there is none."""
    assert listed.folder is not None
    name = f"{listed.folder.name}{UNTRAINED}"
    folder, trained = built_folder(settings) / name, listed.folder
    known = folder / TWIN_FILE
    if not known.is_file() or known.read_text() != read_card(trained).weights:
        # Another dictionary of this name, or the same trained anew, has another twin.
        shutil.rmtree(folder, ignore_errors=True)
        seen = _activations(listed, settings)
        _build(folder, lambda place: _twin(trained, place, seen=seen))
    return name


def _twin(trained: Path, folder: Path, *, seen: Tensor) -> None:
    from sae.untrained import untrained_twin

    untrained_twin(trained, folder, seed=SEED, activations=seen)
    (folder / TWIN_FILE).write_text(read_card(trained).weights)


def _activations(listed: Listed, settings: Settings) -> Tensor:
    """What the dictionary encodes of some probe pictures: thresholds are set so that as many fire."""
    from namesae.real_models import probe_gallery
    from sae.activations import open_reader

    assert listed.folder is not None
    gallery = probe_gallery(listed, settings)
    reader = open_reader(listed.folder)
    pictures = [gallery.picture(image) for image in gallery.images[:PICTURES]]
    return reader.inputs(reader.backbone.preprocess(pictures))


def _build(folder: Path, build: Build) -> None:
    """Build beside the place and move there, so that no other process sees half of it."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    partial.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    build(partial)
    try:
        partial.rename(folder)
    except OSError:
        # Another process was first.
        shutil.rmtree(partial)
