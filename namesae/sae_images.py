"""Images by what a person calls them: a folder, the drawn world, or a set known by name. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sae.image_source import FolderImages, PictureList, choose_images
from tools.errors import UsageError

if TYPE_CHECKING:
    from sae.image_source import ImageSource

SANDBOX = "sandbox.sets"
FORMS = "a folder, sandbox.sets, torchvision:NAME[:SPLIT], hf:NAME[:SPLIT]"


class ImageChoice(NamedTuple):
    """Which images a person wants."""

    given: str
    root: Path = Path("data")
    """Where torchvision's sets lie or go."""
    download: bool = False
    most: int | None = None
    """Draw this many of them; None: all."""
    seed: int = 0


def image_choice(given: str | None, *, root: Path, download: bool) -> ImageChoice | None:
    """What --images, --root and --download say; None where nothing was given."""
    return None if given is None else ImageChoice(given, root=root, download=download)


def open_images(choice: ImageChoice) -> ImageSource:
    """The images. UsageError for a form that does not exist; BadImages where they cannot be read."""
    kind, colon, rest = choice.given.partition(":")
    if choice.given == SANDBOX:
        source = sandbox_images()
    elif colon and kind in NAMED and not Path(choice.given).exists():
        source = NAMED[kind](rest, choice)
    elif (folder := Path(choice.given).expanduser()).is_dir():
        source = FolderImages(folder)
    else:
        raise UsageError(f"Images {choice.given!r} do not exist; give {FORMS}.")
    return source if choice.most is None else choose_images(source, choice.most, seed=choice.seed)


def sandbox_images(attribute: str = "object") -> ImageSource:
    """The probe set of the drawn world, drawn anew, with an attribute's value as class. UsageError."""
    from sandbox.sets import image_set
    from sandbox.world.scene import labels
    from sandbox.world.vocabulary import ATTRIBUTES

    if attribute not in ATTRIBUTES:
        raise UsageError(
            f"The drawn world has no attribute {attribute!r}; give --labels {', '.join(ATTRIBUTES)} or none."
        )
    found = image_set("probe")
    shown = [labels(scene)[attribute] for scene in found.scenes]
    return PictureList(SANDBOX, found.pictures().__getitem__, len(found), shown, ATTRIBUTES[attribute])


def _torchvision(named: str, choice: ImageChoice) -> ImageSource:
    from sae.image_sets import open_torchvision

    name, _, split = named.partition(":")
    return open_torchvision(name, root=choice.root, split=split or "train", download=choice.download)


def _hub(named: str, choice: ImageChoice) -> ImageSource:
    from sae.image_sets import open_hub

    name, _, split = named.partition(":")
    source, _, revision = name.partition("@")
    return open_hub(source, split=split or "train", revision=revision or None)


NAMED: dict[str, Callable[[str, ImageChoice], ImageSource]] = {"torchvision": _torchvision, "hf": _hub}
"""By what stands before the colon."""
