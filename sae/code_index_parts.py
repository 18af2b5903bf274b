"""The parts a code index is built from: the codes of a few hundred images each, whole or absent on disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sae.code_index_columns import Bytes, Floats, Ints, Longs
from sae.whole_file import whole_file

UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
"""What numpy raises at a file that is not what it wrote."""


class Part(NamedTuple):
    """The non-zero activations of m images, in order."""

    offsets: Longs
    """(m + 1,)"""
    features: Ints
    values: Floats
    labels: Ints
    """(m,) numbers of classes, -1 for none."""
    sums: Bytes
    """(m, 32)"""
    key_starts: Longs
    """(m + 1,)"""
    key_text: Bytes


class Line(NamedTuple):
    """One image on its way into a part."""

    features: Ints
    values: Floats
    label: int
    sha256: str
    key: str


def part_of(lines: list[Line]) -> Part:
    """Images put together."""
    keys = [line.key.encode("utf-8", "surrogateescape") for line in lines]
    return Part(
        offsets=np.cumsum([0, *(len(line.features) for line in lines)], dtype=np.int64),
        features=np.concatenate([line.features for line in lines]).astype(np.int32),
        values=np.concatenate([line.values for line in lines]).astype(np.float32),
        labels=np.array([line.label for line in lines], np.int32),
        sums=np.frombuffer(bytes.fromhex("".join(line.sha256 for line in lines)), np.uint8).reshape(-1, 32),
        key_starts=np.cumsum([0, *(len(key) for key in keys)], dtype=np.int64),
        key_text=np.frombuffer(b"".join(keys), np.uint8),
    )


class Parts:
    """The parts of one build, numbered from 0 in a folder."""

    def __init__(self, folder: Path, *, count: int) -> None:
        self.folder, self._count = folder, count

    def write(self, number: int, part: Part) -> None:
        """Keep a part."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self._path(number)) as partial, partial.open("wb") as file:
            np.savez(file, **part._asdict())

    def read(self, number: int) -> Part | None:
        """A part; None where it is not there, or is not whole."""
        try:
            with self._path(number).open("rb") as file, np.load(file, allow_pickle=False) as held:
                return Part(**{name: held[name] for name in Part._fields})
        except UNREADABLE:
            return None

    def __iter__(self) -> Iterator[Part]:
        """All parts in order; FileNotFoundError where one is gone."""
        for number in range(self._count):
            part = self.read(number)
            if part is None:
                raise FileNotFoundError(f"{self._path(number)} is gone; build the code index again.")
            yield part

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"
