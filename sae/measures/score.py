"""A measured figure with its interval, as it is stored."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sae.feature import Frozen
from sae.intervals import Estimate, bootstrap, wilson
from sae.metrics import Doubles

ROUNDS = 1000
"""Resamples of an interval."""


class Score(Frozen):
    """A figure and, where it is a mean over images, its 95 % interval. ``value`` None: it cannot be told."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Images it is a figure of."""


def score_of(estimate: Estimate, *, n: int) -> Score:
    """An estimate as it is stored; None for what is not finite."""
    value, (low, high) = finite(estimate.value), estimate.interval
    return Score(value=value, low=finite(low), high=finite(high), n=n)


def plain_score(value: float, *, n: int = 0) -> Score:
    """A figure without an interval."""
    return Score(value=finite(value), n=n)


def mean_score(values: npt.ArrayLike, *, seed: int, rounds: int = ROUNDS) -> Score:
    """The mean of (n,) values, one an image, with the percentiles of resampled images."""
    return resampled(lambda rows: float(rows.mean()), values, seed=seed, rounds=rounds)


def share_score(hits: npt.ArrayLike, *, seed: int, rounds: int = ROUNDS) -> Score:
    """The share of (n,) hits, 0 or 1 each, with the percentiles of resampled images.

    Resamples of nothing but hits, or of none, say nothing of what one more image would do: Wilson's interval
    stands there.
    """
    held = np.asarray(hits, np.float64)
    found = mean_score(held, seed=seed, rounds=rounds)
    if found.value not in (0.0, 1.0):
        return found
    low, high = wilson(float(held.sum()), len(held))
    return found.model_copy(update={"low": low, "high": high})


def ratio_score(parts: npt.ArrayLike, wholes: npt.ArrayLike, *, seed: int, rounds: int = ROUNDS) -> Score:
    """sum(parts) / sum(wholes), both (n,), one an image, with the percentiles of resampled images."""
    pairs = np.column_stack([np.asarray(parts, np.float64), np.asarray(wholes, np.float64)])
    return resampled(_ratio, pairs, seed=seed, rounds=rounds)


def resampled(
    statistic: Callable[[Doubles], float], rows: npt.ArrayLike, *, seed: int, rounds: int = ROUNDS
) -> Score:
    """A statistic of rows, one an image, with the percentiles of resampled images."""
    held = np.asarray(rows, np.float64)
    if not len(held):
        return Score(value=None)
    return score_of(bootstrap(statistic, [held], seed=seed, rounds=rounds), n=len(held))


def finite(value: float) -> float | None:
    """The value, None where it is not a number."""
    return float(value) if np.isfinite(value) else None


def _ratio(pairs: Doubles) -> float:
    part, whole = pairs.sum(0)
    return float(part / whole) if whole > 0 else float("nan")
