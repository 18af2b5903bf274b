"""Dictionaries that evaluations build for themselves: planted, class units, untrained twins."""

from __future__ import annotations

import os
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

    build: Build
    backbone: str
    """Folder of the sandbox's models that it is built on."""


def _planted(folder: Path) -> object:
    from sandbox.planting import plant

    return plant(folder, seed=SEED)


def _classes(folder: Path) -> object:
    from sandbox.planting import sandbox_classes

    return sandbox_classes(folder)


BUILT: dict[str, Recipe] = {"planted": Recipe(_planted, "clip"), "classes": Recipe(_classes, "vit")}
"""Dictionaries by name that are built when an evaluation first asks for them."""


def find_or_build(name: str, settings: Settings, *, say: Say) -> Listed:
    """A dictionary by name or folder, built now where it is one of these. Errors as find_dictionary."""
    if name in BUILT:
        build, backbone = BUILT[name]
        source = shipped_folder() / backbone
        stamp = digest(source=str(source), model=fingerprint(str(source)), seed=SEED)
        _ensure(built_folder(settings) / name, build, stamp=stamp, say=say)
    elif name.endswith(UNTRAINED):
        twin_of(find_dictionary(name.removesuffix(UNTRAINED), settings), settings)
    return find_dictionary(name, settings)


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
