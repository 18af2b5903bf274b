"""The images a dictionary is measured on: a folder, a set known by name, or its own probe set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from namesae.sae_images import SANDBOX, ImageChoice, open_images, sandbox_images
from sae.card import DictionaryCard
from sae.image_source import FolderImages
from tools.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sae.image_source import ImageSource

ATTRIBUTES = ("object", "colour", "texture", "background", "size", "count")
NONE = "none"
SANDBOX_TEMPLATES = ("a picture of a {}", "a drawing of a {}", "{}")
"""Those the sandbox's captions are written with."""


def images_for(
    choice: ImageChoice | None, card: DictionaryCard, folder: Path, *, attribute: str = "object"
) -> ImageSource:
    """Those a person chose, or what the card names as its probe set: a folder, or 'sandbox.sets'.

    ``attribute``: of the drawn world, what the classes are. UsageError, BadImages.
    """
    if choice is not None:
        return sandbox_images(attribute) if choice.given == SANDBOX else open_images(choice)
    if card.probe_set is None:
        raise UsageError(f"Dictionary {card.name!r} names no probe set; give pictures with --images FOLDER.")
    source = card.probe_set.source
    if source == SANDBOX:
        return sandbox_images(attribute)
    beside = folder / source
    return FolderImages(beside if beside.is_dir() else Path(source).expanduser())


def class_numbers(labels: Sequence[str | None], classes: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """(n,) places of the labels among the classes, -1 where an image has none; None where no image has."""
    import numpy as np

    places = {name: at for at, name in enumerate(classes)}
    found = np.array([-1 if label is None else places.get(label, -1) for label in labels], np.int64)
    return found if (found >= 0).any() else None
