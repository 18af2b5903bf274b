"""Columns on the disk, and the blocks they are worked through in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sae.column_file import blocks, column_file, map_column


def bytes_of(array: npt.NDArray[Any]) -> bytes:
    raw = io.BytesIO()
    np.save(raw, array)
    return raw.getvalue()


@pytest.mark.parametrize("shape", [(7,), (0,), (3, 5), (0, 32)])
def test_a_column_comes_back_as_it_was_saved(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype="<u4").reshape(shape)
    path = column_file(tmp_path, "seed")
    np.save(path, array)
    found = map_column(path)
    assert found.dtype == array.dtype and np.array_equal(found, array) and found.shape == shape
    assert type(found) is np.ndarray and not found.flags.writeable


@pytest.mark.parametrize(
    "raw",
    [
        bytes_of(np.arange(9))[:-1],
        bytes_of(np.arange(9)) + b" ",
        bytes_of(np.arange(9))[:20],
        b"",
        b"not an array",
        bytes_of(np.asfortranarray(np.ones((3, 4)))),
        bytes_of(np.array([None, {}])),
    ],
)
def test_what_is_no_column_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = column_file(tmp_path, "seed")
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"\S"):
        map_column(path)


@given(st.lists(st.integers(1, 30), max_size=30), st.integers(1, 40))
def test_blocks_cover_all_features_once(counts: list[int], most: int) -> None:
    starts = np.cumsum([0, *counts])
    found = list(blocks(starts, most=most))
    assert [at for low, high in found for at in range(low, high)] == list(range(len(counts)))
    assert all(starts[high] - starts[low] <= most or high == low + 1 for low, high in found)
