"""Whether features tell images apart: how many of their strongest images two of them share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

STRONGEST = 16
_CHUNK = 1024


def mean_overlap(activations: npt.ArrayLike | sparse.csr_matrix, *, count: int = STRONGEST) -> float:
    """Mean Jaccard index of two features' sets of their ``count`` strongest images, over all pairs.

    Of (n, F) activations, dense or sparse; a feature with fewer active images has a smaller set, one with
    none is left out. 0: no two features share one; nan with fewer than two features. arXiv 2504.02821 calls
    it uniqueness.
    """
    shown = strongest_images(activations, count=count)
    sizes = np.asarray(shown.sum(1)).ravel()
    shown, sizes = shown[sizes > 0], sizes[sizes > 0]
    n = len(sizes)
    if n < 2:
        return float("nan")
    total = 0.0
    for start in range(0, n, _CHUNK):
        common = (shown[start : start + _CHUNK] @ shown.T).tocoo()
        rows = common.row + start
        apart = rows != common.col
        part, rows, columns = common.data[apart], rows[apart], common.col[apart]
        total += float((part / (sizes[rows] + sizes[columns] - part)).sum())
    return total / (n * (n - 1))


def strongest_images(
    activations: npt.ArrayLike | sparse.csr_matrix, *, count: int = STRONGEST
) -> sparse.csr_matrix:
    """(F, n) ones where an image is among a feature's strongest; ties go to the earlier image."""
    held = sparse.csc_matrix(activations)
    rows: list[npt.NDArray[np.intp]] = []
    for feature in range(held.shape[1]):
        part = slice(held.indptr[feature], held.indptr[feature + 1])
        images, values = held.indices[part], held.data[part]
        live = values > 0
        images, values = images[live], values[live]
        rows.append(images[np.lexsort((images, -values))[:count]])
    offsets = np.cumsum([0, *(len(row) for row in rows)])
    found = np.concatenate(rows) if rows else np.empty(0, np.intp)
    return sparse.csr_matrix((np.ones(len(found)), found, offsets), shape=(held.shape[1], held.shape[0]))
