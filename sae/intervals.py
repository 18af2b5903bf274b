"""Confidence intervals of rates, of AUROC and of means, on numpy alone.

``positives`` and ``negatives`` are always (n,) scores of the two groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sae.metrics import Doubles, auroc

_CHUNK = 256


class Interval(NamedTuple):
    """A confidence interval, 95 % unless asked otherwise."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A figure and its interval."""

    value: float
    interval: Interval


class Area(NamedTuple):
    """An AUROC and DeLong's variance of it."""

    value: float
    variance: float
    """nan where a group has one member only."""


class _Placements(NamedTuple):
    """How each score stands to the other group: the share of it that it beats, ties 1/2."""

    above: Doubles
    """(n1,) shares of the negatives that a positive beats."""
    below: Doubles
    """(n0,) shares of the positives that beat a negative."""


def auroc_interval(
    positives: npt.ArrayLike, negatives: npt.ArrayLike, *, level: float = 0.95, seed: int | None = None
) -> Interval:
    """DeLong's interval on the logit scale, steadied; with a seed, the percentiles of 2,000 resamples.

    DeLong's variance is nothing where the groups are apart or wholly tied, and too small near there. So the
    interval is that of the scores and, in each group, half an image more that beats half of the other group,
    with m(1 - m), the largest variance of an area m, added to each sum of squares. The end nearer to 0 or 1
    takes the half image only as far as scores are untied: a sparse feature's misses are its own half images.
    No end goes beyond the exact one of groups that are apart, were an image that misses like the other group.
    benchmarks/interval_coverage.py measures it. Biometrics 44 (1988) 837; Stat. Med. 25 (2006) 559 for the
    logit. Never a point, and always holds the AUROC (a seed's may not).
    """
    above, below = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    area = auroc(above, below)
    placed = _placements(above, below)
    apart = len(np.unique(placed.above)) == 1 and len(np.unique(placed.below)) == 1
    if seed is not None and not apart:
        return percentiles(_resampled_auroc(above, below, seed=seed), level=level)
    inner = _logit_interval(area, placed, half=0.5, level=level)
    outer = _logit_interval(area, placed, half=0.5 * (1 - _tied(above, below)), level=level)
    low = inner.low if area > 0.5 else outer.low
    high = inner.high if area < 0.5 else outer.high
    best = _least_when_apart(min(len(above), len(below)), level=level)
    low = best if area == 1 else min(low, best)
    high = 1 - best if area == 0 else max(high, 1 - best)
    return Interval(low=min(low, area), high=max(high, area))


def delong(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> Area:
    """AUROC and its variance: var(placements, ddof 1) / n of both groups. Biometrics 44 (1988) 837."""
    above, below = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    area = auroc(above, below)
    if min(len(above), len(below)) < 2:
        return Area(value=area, variance=math.nan)
    placed = _placements(above, below)
    return Area(value=area, variance=sum(float(each.var(ddof=1)) / len(each) for each in placed))


def wilson(successes: float, trials: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a rate; the whole of [0, 1] when nothing was tried."""
    if trials == 0:
        return Interval(low=0.0, high=1.0)
    rate, z = successes / trials, _z(level)
    shrink = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # Exactly 0 or 1 successes in all must not lose the bound itself to rounding.
    return Interval(low=max(0.0, min(centre - half, rate)), high=min(1.0, max(centre + half, rate)))


def newcombe(ours: tuple[int, int], theirs: tuple[int, int], *, level: float = 0.95) -> Estimate:
    """Difference of two independent shares, each (successes, trials > 0).

    Newcombe's hybrid of Wilson's intervals: Stat. Med. 17 (1998) 873, method 10.
    """
    if min(ours[1], theirs[1]) < 1:
        raise ValueError(f"Shares {ours} and {theirs} cannot be compared; give at least one trial each.")
    a, b = ours[0] / ours[1], theirs[0] / theirs[1]
    one, other = wilson(*ours, level=level), wilson(*theirs, level=level)
    low = a - b - math.hypot(a - one.low, other.high - b)
    high = a - b + math.hypot(one.high - a, b - other.low)
    return Estimate(value=a - b, interval=Interval(low=max(-1.0, low), high=min(1.0, high)))


def bootstrap(
    statistic: Callable[..., float],
    groups: Sequence[npt.ArrayLike],
    *,
    seed: int,
    rounds: int = 2000,
    level: float = 0.95,
) -> Estimate:
    """Percentile interval of ``statistic(*groups)``, each group resampled within itself (stratified)."""
    rows = [np.asarray(group) for group in groups]
    rng = np.random.default_rng(seed)
    draws = [statistic(*(row[rng.integers(len(row), size=len(row))] for row in rows)) for _ in range(rounds)]
    return Estimate(value=float(statistic(*rows)), interval=percentiles(np.asarray(draws), level=level))


def paired_difference(
    ours: npt.ArrayLike, theirs: npt.ArrayLike, *, seed: int, rounds: int = 2000, level: float = 0.95
) -> Estimate:
    """Mean of ours - theirs over the same (n,) units, with the percentiles of resampled units."""
    difference = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    if difference.ndim != 1 or not len(difference):
        raise ValueError(f"Differences have shape {difference.shape}; give two rows of the same n > 0 units.")
    rng = np.random.default_rng(seed)
    means = difference[rng.integers(len(difference), size=(rounds, len(difference)))].mean(1)
    return Estimate(value=float(difference.mean()), interval=percentiles(means, level=level))


def percentiles(draws: npt.ArrayLike, *, level: float = 0.95) -> Interval:
    """The central ``level`` of resampled figures."""
    low, high = np.percentile(np.asarray(draws, np.float64), [50 * (1 - level), 50 * (1 + level)])
    return Interval(low=float(low), high=float(high))


def _placements(above: Doubles, below: Doubles) -> _Placements:
    return _Placements(above=_beaten(above, below), below=1 - _beaten(below, above))


def _beaten(scores: Doubles, others: Doubles) -> Doubles:
    ordered = np.sort(others)
    beaten = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    share: Doubles = beaten / (2 * len(others))
    return share


def _tied(above: Doubles, below: Doubles) -> float:
    """Share of all pairs of scores that are equal."""
    _, counts = np.unique(np.append(above, below), return_counts=True)
    n = int(counts.sum())
    return float((counts * (counts - 1.0)).sum()) / (n * (n - 1))


def _least_when_apart(n: int, *, level: float) -> float:
    """The least area that n images would beat every other one with, were those that miss like the others."""
    missed: float = 1 - ((1 - level) / 2) ** (1 / n)
    return 1 - missed / 2


def _logit_interval(area: float, placed: _Placements, *, half: float, level: float) -> Interval:
    """``half``: the weight of the image that each group has more."""
    smaller = min(len(placed.above), len(placed.below))
    m = (smaller * area + half / 2) / (smaller + half)
    if not 0 < m < 1:
        return Interval(low=m, high=m)
    added = half * (m - 0.5) ** 2 + m * (1 - m)
    variance = sum((float(((each - m) ** 2).sum()) + added) / (len(each) + half) ** 2 for each in placed)
    reach = _z(level) * math.sqrt(variance) / (m * (1 - m))
    centre = math.log(m / (1 - m))
    return Interval(low=_logistic(centre - reach), high=_logistic(centre + reach))


def _z(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _resampled_auroc(above: Doubles, below: Doubles, *, seed: int, rounds: int = 2000) -> Doubles:
    """(rounds,) AUROCs; a resample is a weight per score, so nothing is sorted twice."""
    rng = np.random.default_rng(seed)
    scores = np.append(above, below)
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    areas: list[Doubles] = []
    for start in range(0, rounds, _CHUNK):
        times = min(_CHUNK, rounds - start)
        weights = np.zeros((2, times, len(scores)))
        weights[0, :, : len(above)] = _times_drawn(rng, len(above), times)
        weights[1, :, len(above) :] = _times_drawn(rng, len(below), times)
        true, false = np.add.reduceat(weights[..., order], starts, axis=-1)
        areas.append((false * (true.cumsum(1) - true / 2)).sum(1))
    return np.concatenate(areas) / (len(above) * len(below))


def _times_drawn(rng: np.random.Generator, n: int, times: int) -> npt.NDArray[np.intp]:
    """(times, n) how often each of n is drawn in n draws with replacement."""
    drawn = rng.integers(n, size=(times, n)) + n * np.arange(times)[:, None]
    return np.bincount(drawn.ravel(), minlength=times * n).reshape(times, n)
