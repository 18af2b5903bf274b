"""The columns of a segment: arrays in memory or on the disk, written as a stream of plain .npy files."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sae.column_file import column_file, map_column
from sae.feature import Frozen
from tools.errors import IntegrityError

Bytes = npt.NDArray[np.uint8]
UInts = npt.NDArray[np.uint32]
Longs = npt.NDArray[np.int64]
Heads = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]


class Columns(NamedTuple):
    """n rows (images), u features that fire, z entries (image and feature), p prompts first seen here."""

    image: Bytes
    """(n, 32) image ids."""
    seed: UInts
    """(n,)"""
    prompt: UInts
    """(n,) number of the row's prompt in the whole bank."""
    image_head: Heads
    """(n,) first 8 bytes of the image ids, ascending."""
    image_row: UInts
    """(n,) the row of each head."""
    feature: UInts
    """(u,) features with an entry, ascending."""
    feature_start: Longs
    """(u + 1,) where the entries of each begin."""
    entry_row: UInts
    """(z,) ascending inside each feature."""
    entry_value: Floats
    """(z,) activations as they were scored: 16 bits would save a fifth of all bytes and lose up to 2^-11."""
    prompt_head: Heads
    """(p,) first 8 bytes of the sha256 of the prompts, ascending."""
    prompt_place: UInts
    """(p,) the prompt of each head, counted from the first one here."""
    text_start: Longs
    """(p + 1,) where the text of each prompt begins."""
    text: Bytes
    """UTF-8 of all prompts."""


_CODES = ("u1", "<u4", "<u4", "<u8", "<u4", "<u4", "<i8", "<u4", "<f4", "<u8", "<u4", "<i8", "u1")
DTYPES = {column: np.dtype(code) for column, code in zip(Columns._fields, _CODES, strict=True)}
"""How each column lies on the disk."""


class ColumnFile(Frozen):
    """One file of a segment."""

    column: str
    sha256: str
    bytes: int


class ColumnWriter:
    """One column, appended to piece by piece; durable once closed."""

    def __init__(self, folder: Path, column: str, shape: tuple[int, ...]) -> None:
        self._column, self._path, self._left = column, column_file(folder, column), math.prod(shape)
        self._dtype = DTYPES[column]
        self._sum, self._file = hashlib.sha256(), self._path.open("xb")
        told = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self, told)

    def append(self, piece: npt.NDArray[Any]) -> None:
        """More values, in order."""
        if piece.size:
            self._left -= piece.size
            self.write(np.ascontiguousarray(piece, dtype=self._dtype).data.cast("B"))

    def write(self, data: memoryview | bytes) -> None:
        """Bytes as they are."""
        self._sum.update(data)
        self._file.write(data)

    def close(self) -> ColumnFile:
        """Fsync; ValueError unless as many values came as were announced."""
        if self._left:
            raise ValueError(f"Column {self._column} is {self._left} values short.")
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._file.close()
        return ColumnFile(column=self._column, sha256=self._sum.hexdigest(), bytes=size)

    def drop(self) -> None:
        """Close what an error left unfinished."""
        self._file.close()


class ColumnWriters:
    """Several columns of one folder; all are closed at the end of the block."""

    def __init__(self, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._writers = {name: ColumnWriter(folder, name, shape) for name, shape in shapes.items()}

    def __enter__(self) -> ColumnWriters:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.drop()

    def append(self, column: str, piece: npt.NDArray[Any]) -> None:
        """More values of one column, in order."""
        self._writers[column].append(piece)

    def close(self) -> list[ColumnFile]:
        """Fsync all, several at a time: a disk that waits for one can take in the others."""
        with ThreadPoolExecutor(len(self._writers)) as pool:
            return list(pool.map(ColumnWriter.close, self._writers.values()))


def open_columns(folder: Path, files: tuple[ColumnFile, ...]) -> Columns:
    """The columns, memory-mapped; IntegrityError where one has another size, FileNotFoundError without it."""
    return Columns(**{file.column: _mapped(folder, file) for file in files})


def _mapped(folder: Path, file: ColumnFile) -> npt.NDArray[Any]:
    path, dtype = column_file(folder, file.column), DTYPES[file.column]
    if path.stat().st_size != file.bytes:
        raise IntegrityError(
            f"{path} is not the {file.bytes} bytes that were written: restore it from a copy."
        )
    try:
        found = map_column(path)
    except ValueError as error:
        raise IntegrityError(f"{path} is not the column that was written: restore it from a copy.") from error
    if found.dtype != dtype:
        raise IntegrityError(f"{path} holds {found.dtype} values instead of {dtype}: restore it from a copy.")
    return found
