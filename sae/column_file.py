"""One column of numbers: a plain .npy file of version 1.0, memory-mapped."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def column_file(folder: Path, column: str) -> Path:
    """Where a column lies."""
    return folder / f"{column}.npy"


def map_column(path: Path) -> npt.NDArray[Any]:
    """The column, read-only; OSError where it cannot be read, ValueError where it is cut or no column."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        start, count = file.tell(), math.prod(shape)
        if fortran or dtype.hasobject:
            raise ValueError(f"{path} holds {dtype} in an order that no column has.")
        if os.fstat(file.fileno()).st_size != start + count * dtype.itemsize:
            raise ValueError(f"{path} is not as long as it says.")
        # Not as np.memmap: slices of those are many times slower. The array keeps the mapping open.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, dtype, count, start).reshape(shape)


def blocks(starts: npt.NDArray[np.int64], *, most: int) -> Iterator[tuple[int, int]]:
    """Ranges of features that have at most ``most`` entries together, or are one feature.

    ``starts``: (F + 1,) where the entries of each feature begin.
    """
    low, last = 0, len(starts) - 1
    while low < last:
        high = int(np.searchsorted(starts, starts[low] + most, side="right")) - 1
        high = min(max(high, low + 1), last)
        yield low, high
        low = high
