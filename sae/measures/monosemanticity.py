"""Whether the images of a feature look alike to another model: the MonoSemanticity score, in closed form."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sae.metrics import Doubles

Matrix: TypeAlias = "npt.NDArray[Any] | sparse.csr_matrix"


class MonosemanticitySum:
    """MS of every feature over any number of images, in one pass and O(n F D).

    With a the activations of a feature brought to [0, 1] by its least and greatest, and e_i unit embeddings,
    MS = sum_{i<k} a_i a_k cos(e_i, e_k) / sum_{i<k} a_i a_k (arXiv 2504.02821), which is
    (|sum a_i e_i|^2 - sum a_i^2) / ((sum a_i)^2 - sum a_i^2). The sums are kept of the activations as they
    are, so that the least and the greatest need no pass of their own.
    """

    def __init__(self) -> None:
        self._n = 0
        self._low: Doubles | None = None
        self._high: Doubles | None = None
        self._weighted: Any = 0.0
        self._sums: Any = 0.0
        self._embedding: Any = 0.0

    def add(self, activations: Matrix, embeddings: npt.ArrayLike) -> None:
        """Count (b, F) activations, dense or sparse, and (b, D) embeddings of the same images."""
        e = np.asarray(embeddings, np.float64)
        length = np.linalg.norm(e, axis=1, keepdims=True)
        e = np.divide(e, length, out=np.zeros_like(e), where=length > 0)
        z = sparse.csr_matrix(activations, dtype=np.float64)
        if z.shape[0] != len(e):
            raise ValueError(f"{z.shape[0]} rows of activations and {len(e)} embeddings do not fit.")
        if not len(e):
            return
        squares = z.multiply(z).tocsr()
        shown = (length[:, 0] > 0).astype(np.float64)
        self._n += len(e)
        self._weighted = self._weighted + np.asarray(z.T @ e)
        self._embedding = self._embedding + np.append(e.sum(0), shown.sum())
        rows = [_columns(z), _columns(squares), np.asarray(z.T @ shown), np.asarray(squares.T @ shown)]
        self._sums = self._sums + np.stack(rows)
        low, high = (np.asarray(each.toarray()).ravel() for each in (z.min(0), z.max(0)))
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)

    def values(self) -> Doubles:
        """(F,) scores; nan for a feature that fewer than two images activate, or all of them alike."""
        if self._low is None or self._high is None:
            return np.empty(0)
        low, span = self._low, self._high - self._low
        plain, squared, shown, shown_squared = self._sums
        count = self._embedding[-1]
        scale = np.where(span > 0, span, np.nan)
        total = (plain - self._n * low) / scale
        whole = (squared - 2 * low * plain + self._n * low**2) / scale**2
        # cos(e, e) is 1, but for an embedding of nothing but zeros.
        alike = (shown_squared - 2 * low * shown + count * low**2) / scale**2
        toward = (self._weighted - low[:, None] * self._embedding[:-1]) / scale[:, None]
        pairs = total**2 - whole
        scores: Doubles = np.full(len(low), np.nan)
        np.divide((toward**2).sum(1) - alike, pairs, out=scores, where=pairs > 1e-12 * np.maximum(whole, 1))
        return scores


def monosemanticity(activations: Matrix, embeddings: npt.ArrayLike, *, chunk: int = 1024) -> Doubles:
    """(F,) MS of (n, F) activations and (n, D) embeddings of the same images."""
    total, e = MonosemanticitySum(), np.asarray(embeddings)
    for start in range(0, len(e), chunk):
        total.add(activations[start : start + chunk], e[start : start + chunk])
    return total.values()


def mean_cosine(embeddings: npt.ArrayLike) -> float:
    """Of two different ones of (n, D) embeddings: the MS of a feature that is active on all images alike."""
    e = np.asarray(embeddings, np.float64)
    length = np.linalg.norm(e, axis=1, keepdims=True)
    unit = np.divide(e, length, out=np.zeros_like(e), where=length > 0)
    n, same = len(e), float((unit**2).sum())
    return (float((unit.sum(0) ** 2).sum()) - same) / (n * (n - 1)) if n > 1 else float("nan")


def _columns(rows: sparse.csr_matrix) -> Doubles:
    return np.asarray(rows.sum(0)).ravel()
