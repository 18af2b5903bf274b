"""The geometry of decoder directions, and whether another seed finds the same ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from sae.metrics import Doubles

_CHUNK = 1024
MOST_MATCHED = 8192
"""Features of the first dictionary that are matched: the assignment costs their square times the others."""


class Directions(NamedTuple):
    """Of D, the decoder directions brought to unit length."""

    orthogonality: float
    """Mean squared off-diagonal entry of D D^T; 0: all orthogonal. Of random directions: 1 / d."""
    coherence: float
    """Greatest |cosine| of two directions."""
    nearest: Doubles
    """(F,) greatest |cosine| with another one."""


class Stability(NamedTuple):
    """How far the features of one dictionary are found again in another."""

    mean: float
    """Mean |cosine| of the pairs of the best one-to-one matching."""
    found_again: float
    """Share of the pairs with |cosine| of .9 or more."""
    matched: int
    """Pairs."""
    cosines: Doubles
    """(matched,) |cosine| of each pair, in the order of the first's features."""


def directions(decoder: npt.ArrayLike) -> Directions:
    """Of (F, d) decoder rows; rows of zeros are left out. nan with fewer than two."""
    unit = _unit(decoder)
    n = len(unit)
    if n < 2:
        return Directions(float("nan"), float("nan"), np.full(n, np.nan))
    # sum_ij (d_i . d_j)^2 = |D^T D|^2, which is d x d.
    gram = unit.T @ unit
    orthogonality = (float((gram**2).sum()) - n) / (n * (n - 1))
    single = unit.astype(np.float32)
    nearest = np.empty(n)
    for start in range(0, n, _CHUNK):
        cosine = np.abs(single[start : start + _CHUNK] @ single.T)
        cosine[np.arange(len(cosine)), start + np.arange(len(cosine))] = -1
        nearest[start : start + _CHUNK] = cosine.max(1)
    return Directions(max(orthogonality, 0.0), float(nearest.max()), nearest)


def stability(first: npt.ArrayLike, second: npt.ArrayLike, *, most: int = MOST_MATCHED) -> Stability:
    """Match decoder rows (F1, d) to (F2, d) one to one by |cosine| (Hungarian algorithm).

    Of more than ``most`` features of the first, evenly spaced ones are matched, against all of the second.
    ValueError where the widths differ.
    """
    own, other = _unit(first), _unit(second)
    if own.shape[1] != other.shape[1]:
        raise ValueError(
            f"Directions of width {own.shape[1]} and {other.shape[1]} cannot be matched; "
            "give two dictionaries of one hook point."
        )
    own = own[np.linspace(0, len(own) - 1, most).astype(np.intp)] if len(own) > most else own
    cosines = np.abs(own.astype(np.float32) @ other.astype(np.float32).T)
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    matched: Doubles = np.minimum(cosines[rows, columns].astype(np.float64), 1.0)
    if not len(matched):
        return Stability(float("nan"), float("nan"), 0, matched)
    return Stability(float(matched.mean()), float((matched >= 0.9).mean()), len(matched), matched)


def _unit(rows: npt.ArrayLike) -> Doubles:
    held = np.asarray(rows, np.float64)
    length = np.linalg.norm(held, axis=1)
    kept: Doubles = held[length > 0] / length[length > 0, None]
    return kept
