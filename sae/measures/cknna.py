"""Whether two representations of the same images have the same neighbours: CKNNA, in chunks."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sae.metrics import Doubles

Matrix: TypeAlias = "npt.NDArray[Any] | sparse.csr_matrix"
NEIGHBOURS = 10
_CHUNK = 512


def cknna(first: Matrix, second: Matrix, *, neighbours: int = NEIGHBOURS) -> float:
    """Centred kernel nearest-neighbour alignment of (n, d1) and (n, d2) rows, arXiv 2405.07987.

    K and L are the cosines within each, M_ik = 1 where k != i is among the nearest of i in both, and
    sim(K, L) = HSIC_unbiased(M * K, M * L); the result is sim(K, L) / sqrt(sim(K, K) sim(L, L)). Exact, with
    O(n * neighbours) numbers held; nan where a representation has no structure. Either may be sparse.
    """
    if first.shape[0] != second.shape[0] or first.shape[0] < 4:
        raise ValueError(
            f"Rows {first.shape} and {second.shape} cannot be aligned; give the same n > 3 images."
        )
    count = min(neighbours, first.shape[0] - 1)
    own, other = _nearest(first, count), _nearest(second, count)
    # What is near in both keeps its cosine of each; an explicit cosine of 0 is a neighbour too.
    both = own.mask.multiply(other.mask)
    shared = _hsic(own.cosines.multiply(both).tocsr(), other.cosines.multiply(both).tocsr())
    alone = _hsic(own.cosines, own.cosines) * _hsic(other.cosines, other.cosines)
    return float(shared / np.sqrt(alone)) if alone > 0 else float("nan")


class _Neighbours:
    """The cosines of each row with its nearest, and where they are."""

    def __init__(self, columns: npt.NDArray[np.int64], values: Doubles) -> None:
        n, count = columns.shape
        at = (np.repeat(np.arange(n), count), columns.ravel())
        self.cosines = sparse.csr_matrix((values.ravel(), at), shape=(n, n))
        self.mask = sparse.csr_matrix((np.ones(n * count), at), shape=(n, n))


def _nearest(rows: Matrix, count: int) -> _Neighbours:
    unit = _unit(rows)
    n = unit.shape[0]
    columns, values = np.empty((n, count), np.int64), np.empty((n, count))
    for start in range(0, n, _CHUNK):
        end = min(n, start + _CHUNK)
        product: Any = unit[start:end] @ unit.T
        cosine = np.array(product.toarray() if sparse.issparse(product) else product, np.float64)
        cosine[np.arange(end - start), np.arange(start, end)] = -np.inf
        best = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
        columns[start:end], values[start:end] = best, np.take_along_axis(cosine, best, axis=1)
    return _Neighbours(columns, values)


def _unit(rows: Matrix) -> Matrix:
    if sparse.issparse(rows):
        held = sparse.csr_matrix(rows, dtype=np.float64)
        length = np.sqrt(np.asarray(held.multiply(held).sum(1))).ravel()
        return sparse.csr_matrix(sparse.diags(1 / np.where(length > 0, length, 1)).dot(held))
    dense = np.asarray(rows, np.float64)
    length = np.linalg.norm(dense, axis=1, keepdims=True)
    unit: Doubles = dense / np.where(length > 0, length, 1)
    return unit


def _hsic(k: sparse.csr_matrix, l: sparse.csr_matrix) -> float:  # noqa: E741  The formula's letters.
    """Unbiased HSIC of two (n, n) kernels with empty diagonals, Song et al. 2012, equation 5."""
    n = k.shape[0]
    trace = float(k.multiply(l.T).sum())
    whole = float(k.sum()) * float(l.sum()) / ((n - 1) * (n - 2))
    between = float(np.asarray(k.sum(0)).ravel() @ np.asarray(l.sum(1)).ravel())
    return float((trace + whole - 2 * between / (n - 2)) / (n * (n - 3)))
