"""Codes come back bit for bit, whatever form they take."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import sparse_code
from tools.protocols import SparseCode

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
codes = st.dictionaries(st.integers(0, 2**31 - 1), finite, max_size=300)


def code_of(activations: dict[int, float]) -> SparseCode:
    indices = sorted(activations)
    return SparseCode(
        np.array(indices, dtype=np.int32), np.array([activations[i] for i in indices], dtype=np.float32)
    )


@given(codes)
def test_every_code_comes_back_exactly(activations: dict[int, float]) -> None:
    code = code_of(activations)
    again = sparse_code.decode(sparse_code.encode(code))
    assert again.indices.dtype == np.int32 and again.values.dtype == np.float32
    assert again.indices.tobytes() == code.indices.tobytes()
    assert again.values.tobytes() == code.values.tobytes()


def test_few_features_with_short_values_take_four_bytes_each() -> None:
    assert len(sparse_code.encode(code_of({3: 0.5, 9: 2.0, 511: 1.25}))) == 5 + 3 * 4


def test_a_long_regular_code_is_deflated() -> None:
    assert len(sparse_code.encode(code_of(dict.fromkeys(range(2000), 1.0)))) < 2000 * 4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_non_finite_activation_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="non-finite"):
        sparse_code.encode(code_of({1: value}))


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="pair them"):
        sparse_code.encode(SparseCode(np.arange(2, dtype=np.int32), np.ones(3, dtype=np.float32)))
