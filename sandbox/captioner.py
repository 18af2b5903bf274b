"""Says what a picture of the drawn world shows, as the attribute reader sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from PIL import Image

from sandbox.training.reader import Reader, load_reader
from sandbox.world.captions import ORDER, phrase

FOLDER = Path(__file__).parent / "models" / "reader"


class ReaderCaptioner:
    """Captions by image id; the reader, by default the shipped one, is loaded by the first call."""

    def __init__(self, picture: Callable[[str], Image.Image], folder: Path = FOLDER) -> None:
        self._picture, self._folder = picture, folder

    @cached_property
    def _reader(self) -> Reader:
        return load_reader(self._folder)

    def __call__(self, images: Sequence[str]) -> list[str]:
        """One caption per image id, in order: every attribute the reader sees."""
        seen = self._reader.read([self._picture(image) for image in images])
        return [phrase({name: each[name] for name in ORDER}) for each in seen]
