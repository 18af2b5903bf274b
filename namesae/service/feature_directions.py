"""Cosines of decoder directions, read from the weights file as they are asked for. numpy alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.errors import IntegrityError
from tools.protocols import Floats

WEIGHTS_FILE = "dictionary.safetensors"
_TENSOR = "W_dec"
_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
_MOST_HEADER = 100_000_000
_BLOCK = 4096


class Directions:
    """The decoder rows of a dictionary folder, mapped into memory: the operating system keeps what it can."""

    def __init__(self, folder: Path) -> None:
        """IntegrityError where the weights cannot be read."""
        self._rows = _mapped(folder / WEIGHTS_FILE)
        self._lengths: Floats | None = None
        self._lock = Lock()

    def cosines(self, index: int) -> Floats:
        """(F,) with the direction of one feature; 0 for a direction of no length."""
        lengths = self._all_lengths()
        direction = np.asarray(self._rows[index], np.float32)
        dots = np.concatenate([block @ direction for block in self._blocks()])
        return _divided(dots, lengths * lengths[index])

    def _all_lengths(self) -> Floats:
        with self._lock:
            if self._lengths is None:
                self._lengths = np.concatenate([np.linalg.norm(block, axis=1) for block in self._blocks()])
            return self._lengths

    def _blocks(self) -> Iterator[Floats]:
        for start in range(0, len(self._rows), _BLOCK):
            yield np.asarray(self._rows[start : start + _BLOCK], np.float32)


def _divided(dots: Floats, lengths: Floats) -> Floats:
    found: Floats = np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
    return found


def _mapped(path: Path) -> npt.NDArray[Any]:
    """The tensor as it lies in a safetensors file: its header's length, the header, then the bytes."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > _MOST_HEADER:
                raise ValueError("its header is too long")
            told = json.loads(file.read(size))[_TENSOR]
        start, end = told["data_offsets"]
        shape, dtype = tuple(told["shape"]), np.dtype(_DTYPES[told["dtype"]])
        if len(shape) != 2 or end - start != dtype.itemsize * shape[0] * shape[1]:
            raise ValueError("its directions have another shape")
        return np.memmap(path, dtype, mode="r", offset=8 + size + start, shape=shape)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} holds no decoder directions; get the dictionary again.") from error
