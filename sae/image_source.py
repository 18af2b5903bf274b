"""Images to extract activations from: a folder, or any list of pictures in memory. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageOps

from sae.errors import BadImages

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
UNDECODABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What PIL raises at a file that is no image."""


class Picture(NamedTuple):
    """One image and what is known of it."""

    image: Image.Image
    """RGB, upright."""
    sha256: str
    """Of the file's bytes; where there is no file, of the size and the RGB pixels."""
    label: str | None = None
    """Its class, where there is one."""


class ImageSource(Protocol):
    """A fixed, ordered set of images. Reading one is safe from several threads."""

    @property
    def name(self) -> str:
        """What records call it, e.g. 'folder:/data/birds'."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Every label there is, in the set's own order; empty where images have none."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the list of images does; known without decoding any."""
        ...

    def __len__(self) -> int: ...
    def key(self, row: int) -> str:
        """What tells an image from the others: its path inside the folder, or its number in the set."""
        ...

    def read(self, row: int) -> Picture:
        """Decode an image. BadImages names one that cannot be."""
        ...


@dataclass(frozen=True)
class FolderImages:
    """Every picture below a folder in the order of its path; the folder it lies in is its class."""

    folder: Path

    def __post_init__(self) -> None:
        """BadImages where there is no such folder or no picture in it."""
        if not self.folder.is_dir():
            raise BadImages(f"Image folder {self.folder} does not exist; give a folder of PNG or JPEG files.")
        if not self._paths:
            raise BadImages(
                f"Image folder {self.folder} holds no picture; give a folder of PNG or JPEG files."
            )

    @property
    def name(self) -> str:
        return f"folder:{self.folder.resolve()}"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({label for label in map(self._label, self._paths) if label is not None}))

    @cached_property
    def fingerprint(self) -> str:
        """Over paths and sizes."""
        told = (f"{self.key(row)}\0{path.stat().st_size}" for row, path in enumerate(self._paths))
        return hashlib.sha256("\n".join(told).encode(errors="surrogateescape")).hexdigest()

    def __len__(self) -> int:
        return len(self._paths)

    def key(self, row: int) -> str:
        return self._paths[row].relative_to(self.folder).as_posix()

    def read(self, row: int) -> Picture:
        path = self._paths[row]
        try:
            raw = path.read_bytes()
            with Image.open(BytesIO(raw)) as opened:
                upright = ImageOps.exif_transpose(opened).convert("RGB")
        except UNDECODABLE as error:
            raise BadImages(
                f"Image {path} cannot be read; replace it or take it out of the folder."
            ) from error
        return Picture(upright, hashlib.sha256(raw).hexdigest(), self._label(path))

    @cached_property
    def _paths(self) -> list[Path]:
        try:
            found = (path for path in self.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
            return sorted(path for path in found if path.is_file())
        except OSError as error:
            raise BadImages(
                f"Image folder {self.folder} cannot be read ({error.strerror}); check it."
            ) from error

    def _label(self, path: Path) -> str | None:
        inside = path.parent.relative_to(self.folder).as_posix()
        return None if inside == "." else inside


@dataclass(frozen=True)
class PictureList:
    """Images that somebody hands over by number."""

    name: str
    pictures: Callable[[int], Image.Image]
    """One image by its number; called from several threads."""
    count: int
    labels: Sequence[str] | None = None
    """One an image."""
    classes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Over the name and the number of images: what they are made of is the name's affair."""
        return hashlib.sha256(f"{self.name}\0{self.count}".encode()).hexdigest()

    def __len__(self) -> int:
        return self.count

    def key(self, row: int) -> str:
        return str(row)

    def read(self, row: int) -> Picture:
        try:
            image = self.pictures(row).convert("RGB")
        except UNDECODABLE as error:
            raise BadImages(f"Image {row} of {self.name} cannot be read; leave it out.") from error
        return Picture(image, pixel_sum(image), None if self.labels is None else self.labels[row])


@dataclass(frozen=True)
class ChosenImages:
    """Some images of a source; see ``choose_images``."""

    whole: ImageSource
    rows: tuple[int, ...]
    """Ascending."""

    @property
    def name(self) -> str:
        return f"{self.whole.name}, {len(self.rows)} chosen"

    @property
    def classes(self) -> tuple[str, ...]:
        return self.whole.classes

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.whole.fingerprint}\0{self.rows}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, row: int) -> str:
        return self.whole.key(self.rows[row])

    def read(self, row: int) -> Picture:
        return self.whole.read(self.rows[row])


def choose_images(source: ImageSource, count: int, *, seed: int = 0) -> ImageSource:
    """``count`` images of a source, drawn without repetition; the source itself if it has no more."""
    if count < 1:
        raise BadImages(f"{count} images cannot be chosen; ask for at least 1.")
    if count >= len(source):
        return source
    rows = np.random.default_rng(seed).choice(len(source), count, replace=False)
    return ChosenImages(source, tuple(sorted(int(row) for row in rows)))


def pixel_sum(image: Image.Image) -> str:
    """sha256 of an RGB image's size and pixels."""
    return hashlib.sha256(f"{image.width}x{image.height}\0".encode() + image.tobytes()).hexdigest()
