"""Figures over features: shares with Wilson's interval, means and medians with that of resampled features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from evals.scoreboard import Figure
from sae.intervals import Estimate, percentiles, wilson

ROUNDS = 2000
_Average = Callable[..., "npt.NDArray[np.floating[Any]]"]


def share_of(told: Iterable[bool]) -> Figure:
    """Share of True; without a value where there is nothing."""
    row = list(told)
    if not row:
        return Figure(value=None)
    low, high = wilson(sum(row), len(row))
    return Figure(value=sum(row) / len(row), low=low, high=high, n=len(row))


def mean_of(values: Iterable[float | None], *, seed: int) -> Figure:
    """Mean of the values there are and percentile bootstrap over features; no interval of one value."""
    return _resampled(values, np.mean, seed=seed)


def median_of(values: Iterable[float | None], *, seed: int) -> Figure:
    """Median of the values there are and percentile bootstrap over features; no interval of one value."""
    return _resampled(values, np.median, seed=seed)


def figure_of(estimate: Estimate, *, n: int) -> Figure:
    """An estimate as a figure over n features; an interval of no width says nothing and is left out."""
    low, high = estimate.interval
    told = n > 1 and low < high
    return Figure(value=estimate.value, low=low if told else None, high=high if told else None, n=n)


def _resampled(values: Iterable[float | None], average: _Average, *, seed: int) -> Figure:
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    # Not a number is what a measure says where it is not defined, as a correlation with a constant.
    row = known[np.isfinite(known)]
    if not len(row):
        return Figure(value=None)
    draws = average(row[_draws(len(row), seed)], axis=1)
    return figure_of(Estimate(value=float(average(row)), interval=percentiles(draws)), n=len(row))


@lru_cache(maxsize=16)
def _draws(n: int, seed: int) -> npt.NDArray[np.intp]:
    """(ROUNDS, n) which features each resample holds; every figure over n features uses the same."""
    return np.random.default_rng(seed).integers(n, size=(ROUNDS, n))
