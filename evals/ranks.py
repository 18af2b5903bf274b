"""AUROC of many yes/no labels at once, from one ranking of the scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


def midranks(scores: npt.ArrayLike) -> Doubles:
    """(n,) ranks from 1, lowest score first; equal scores share the mean of theirs."""
    _, where, counts = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    ranks: Doubles = (np.cumsum(counts) - (counts - 1) / 2)[where]
    return ranks


def aurocs(sums: Doubles, counts: Doubles, *, n: int) -> Doubles:
    """P(s+ > s-) + P(s+ = s-) / 2 of groups among n scores: Mann and Whitney's U over the pairs.

    ``counts``: the size of each group; ``sums``: of its midranks. nan where a group holds all or none.
    """
    pairs = counts * (n - counts)
    won = sums - counts * (counts + 1) / 2
    areas: Doubles = np.divide(won, pairs, out=np.full(np.shape(pairs), np.nan), where=pairs > 0)
    return areas
