"""How well the best concept tells an activation: any of the truth table, or one value or another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sandbox.truth import Floats, name_f1
from sandbox.world.concepts import VALUES, Bools

LEVELS = 64
"""Cuts looked at to find the concepts worth an exact F1."""
EXACT = 5
"""Concepts whose F1 is then taken exactly."""
_FIRST, _SECOND = np.triu_indices(len(VALUES), 1)

Doubles = npt.NDArray[np.float64]


class Rival(NamedTuple):
    """The best concepts for one activation."""

    f1: float
    """The highest, on the odd rows with the cut chosen on the even ones."""
    gain: float
    """The highest share of what calling every row positive leaves to F1 = 1 that a concept gains."""


def best_rival(activation: Floats, labels: Bools) -> Rival:
    """Of all values, negated values, pairs with 'and' and pairs with 'or', for (n,) activations and
    (n, len(VALUES)) labels.
    """
    f1, always = _screened(activation[0::2], labels[0::2].astype(np.float32))
    # Nothing is gained on what is always true, such as 'big or small'.
    gain = np.divide(f1 - always, 1 - always, out=np.zeros_like(f1), where=always < 1)
    return Rival(
        f1=max(_exact(activation, labels, column) for column in np.argsort(-f1)[:EXACT]),
        gain=max(_gained(activation, labels, column) for column in np.argsort(-gain)[:EXACT]),
    )


def _screened(activation: Floats, labels: npt.NDArray[np.float32]) -> tuple[Doubles, Doubles]:
    """(c,) the highest F1 of every concept over a few cuts, and F1 of calling every row positive."""
    totals = _counts(labels.T @ labels, np.array(len(labels)))
    always = 2 * totals / (len(labels) + totals)
    order = np.argsort(-activation, kind="stable")[: int((activation > 0).sum())]
    if not len(order):
        return np.zeros_like(always), always
    blocks = np.array_split(order, min(LEVELS, len(order)))
    together = np.cumsum([labels[block].T @ labels[block] for block in blocks], axis=0)
    called = np.cumsum([len(block) for block in blocks])
    hits = _counts(together, called)
    return (2 * hits / (called[:, None] + totals)).max(0), always


def _counts(together: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> Doubles:
    """(..., c) rows on which each concept holds, from how often (..., v, v) values hold together."""
    one = np.diagonal(together, axis1=-2, axis2=-1).astype(np.float64)
    both = together[..., _FIRST, _SECOND]
    either = one[..., _FIRST] + one[..., _SECOND] - both
    return np.concatenate([one, rows[..., None] - one, both, either], axis=-1)


def _holds(labels: Bools, column: int) -> Bools:
    """(n,) truth of a concept, in the order of ``_counts``."""
    if column < len(VALUES):
        return labels[:, column]
    if column < 2 * len(VALUES):
        return ~labels[:, column - len(VALUES)]
    joined, pair = divmod(column - 2 * len(VALUES), len(_FIRST))
    one, other = labels[:, _FIRST[pair]], labels[:, _SECOND[pair]]
    return one | other if joined else one & other


def _exact(activation: Floats, labels: Bools, column: int) -> float:
    return name_f1(activation, _holds(labels, column))


def _gained(activation: Floats, labels: Bools, column: int) -> float:
    shown = _holds(labels, column)
    rate = float(shown[1::2].mean())
    always = 2 * rate / (1 + rate)
    return (name_f1(activation, shown) - always) / (1 - always) if always < 1 else 0.0
