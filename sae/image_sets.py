"""Image sets by name: those torchvision knows, and those of the Hugging Face hub."""

from __future__ import annotations

import hashlib
import inspect
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from sae.errors import BadImages, first_line
from sae.image_source import UNDECODABLE, Picture, pixel_sum

IMAGE_COLUMNS = ("image", "img", "picture", "pixel_values")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")
UNREADABLE = (*UNDECODABLE, RuntimeError, KeyError, IndexError, TypeError)


@dataclass(frozen=True)
class NumberedImages:
    """A set whose i-th item is a PIL image and the number of its class; implements ImageSource."""

    name: str
    items: Any
    """Anything with a length and (image, class) items."""
    classes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Over the name, which tells the split, and the number of images."""
        return hashlib.sha256(f"{self.name}\0{len(self)}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.items)

    def key(self, row: int) -> str:
        return str(row)

    def read(self, row: int) -> Picture:
        try:
            with self._one_at_a_time:
                image, label = self.items[row]
            upright: Image.Image = image.convert("RGB")
        except UNREADABLE as error:
            raise BadImages(f"Image {row} of {self.name} cannot be read: {first_line(error)}") from error
        return Picture(upright, pixel_sum(upright), self._class(label))

    def _class(self, label: Any) -> str | None:
        if label is None:
            return None
        number = int(label)
        return self.classes[number] if 0 <= number < len(self.classes) else str(number)

    @cached_property
    def _one_at_a_time(self) -> threading.Lock:
        return threading.Lock()


class _Known(NamedTuple):
    """A set that torchvision knows."""

    cls: str
    fixed: Mapping[str, Any] = {}


TORCHVISION: dict[str, _Known] = {
    "caltech101": _Known("Caltech101"),
    "caltech256": _Known("Caltech256"),
    "cifar10": _Known("CIFAR10"),
    "cifar100": _Known("CIFAR100"),
    "country211": _Known("Country211"),
    "dtd": _Known("DTD"),
    "eurosat": _Known("EuroSAT"),
    "fashion-mnist": _Known("FashionMNIST"),
    "fgvc-aircraft": _Known("FGVCAircraft"),
    "flowers102": _Known("Flowers102"),
    "food101": _Known("Food101"),
    "gtsrb": _Known("GTSRB"),
    "imagenet": _Known("ImageNet"),
    "imagenette": _Known("Imagenette", {"size": "160px"}),
    "mnist": _Known("MNIST"),
    "oxford-iiit-pet": _Known("OxfordIIITPet"),
    "stanford-cars": _Known("StanfordCars"),
    "stl10": _Known("STL10"),
    "sun397": _Known("SUN397"),
    "svhn": _Known("SVHN"),
}
"""Names people give, without regard to case and hyphens."""


def open_torchvision(
    name: str, *, root: Path, split: str = "train", download: bool = False
) -> NumberedImages:
    """A set of torchvision's below ``root``, fetched only if asked. BadImages lists the sets there are.

    torchvision checks the sums of archives and of pickled batches before it reads them.
    """
    known = {_plain(each): each for each in TORCHVISION}.get(_plain(name))
    if known is None:
        raise BadImages(f"Image set {name!r} is not known; there are {', '.join(TORCHVISION)}.")
    entry = TORCHVISION[known]
    cls = getattr(import_module("torchvision.datasets"), entry.cls)
    wanted = _arguments(cls, known, split=split, download=download)
    if download:
        root.mkdir(parents=True, exist_ok=True)
    try:
        items = cls(str(root), **entry.fixed, **wanted)
    except UNREADABLE as error:
        remedy = "try again or fetch it by hand" if download else "add --download, or say where it lies"
        raise BadImages(
            f"Image set {known}, split {split!r}, cannot be read below {root} ({first_line(error)[:-1]}); "
            f"{remedy}."
        ) from error
    return NumberedImages(f"torchvision:{known}:{split}", items, _class_names(items))


def open_hub(name: str, *, split: str = "train", revision: str | None = None) -> NumberedImages:
    """A set of the Hugging Face hub, or a folder of its files, by the ``datasets`` package. BadImages."""
    try:
        package = import_module("datasets")
    except ImportError as error:
        raise BadImages(
            f"Image set {name!r} needs the package datasets, which is not installed; pip install datasets."
        ) from error
    try:
        loaded = package.load_dataset(name, split=split, revision=revision)
    except Exception as error:
        raise BadImages(
            f"Image set {name!r}, split {split!r}, cannot be loaded: {first_line(error)}"
        ) from error
    return hub_images(loaded, f"hf:{name}{f'@{revision}' if revision else ''}:{split}")


def hub_images(loaded: Any, name: str) -> NumberedImages:
    """A ``datasets.Dataset`` as images: the first column that holds some, the first that holds classes.

    BadImages where there is none.
    """
    columns: Sequence[str] = loaded.column_names
    image = next((column for column in IMAGE_COLUMNS if column in columns), None)
    label = next((column for column in LABEL_COLUMNS if column in columns), None)
    if image is None:
        have, needed = ", ".join(columns), ", ".join(IMAGE_COLUMNS)
        raise BadImages(f"Image set {name} has the columns {have}; one of {needed} is needed.")
    names = getattr(loaded.features[label], "names", None) if label else None
    return NumberedImages(name, _Columns(loaded, image, label), tuple(names or ()))


@dataclass(frozen=True)
class _Columns:
    """Two columns of a table as (image, class) items."""

    table: Any
    image: str
    label: str | None

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: Any) -> Any:
        item = self.table[row]
        return item[self.image], None if self.label is None else item[self.label]


def _arguments(cls: Any, name: str, *, split: str, download: bool) -> dict[str, Any]:
    """The split and the download as this class wants to be told them."""
    takes = inspect.signature(cls).parameters
    wanted: dict[str, Any] = {"download": download} if "download" in takes else {}
    if "split" in takes:
        return wanted | {"split": split}
    if "train" in takes:
        if split not in ("train", "test"):
            raise BadImages(f"Image set {name} has the splits train and test, not {split!r}.")
        return wanted | {"train": split == "train"}
    if split != "train":
        raise BadImages(f"Image set {name} is one whole, without a split {split!r}; leave the split out.")
    return wanted


def _class_names(items: Any) -> tuple[str, ...]:
    names = getattr(items, "classes", None) or getattr(items, "categories", None) or ()
    return tuple(each if isinstance(each, str) else ", ".join(each) for each in names)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
