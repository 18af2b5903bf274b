"""Exact measures and their intervals, on numpy alone.

Rates and AUROC come with intervals; ``positives`` and ``negatives`` are always (n,) scores of the two groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
_CHUNK = 256


class Interval(NamedTuple):
    """A confidence interval, 95 % unless asked otherwise."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A figure and its interval."""

    value: float
    interval: Interval


class Curve(NamedTuple):
    """What every cut of one score counts, for several labels at once; a score >= cut is positive."""

    cuts: Doubles
    """(g,) distinct scores, highest first."""
    true: Doubles
    """(g, c) labelled images at or above each cut."""
    false: Doubles
    """(g, c) unlabelled images at or above each cut."""


class BestCut(NamedTuple):
    """The highest F1 and the highest cut that reaches it, per label."""

    f1: Doubles
    cut: Doubles


def curve(scores: npt.ArrayLike, labels: npt.ArrayLike) -> Curve:
    """Count positives above every distinct score: (n,) finite scores, (n, c) labels of 0 and 1."""
    score, label = np.asarray(scores, np.float64), np.asarray(labels, np.bool_)
    if score.ndim != 1 or label.shape[:1] != score.shape or label.ndim != 2 or not len(score):
        raise ValueError(f"Scores {score.shape} and labels {label.shape} do not fit; give (n,) and (n, c).")
    if not np.isfinite(score).all():
        bad = int((~np.isfinite(score)).sum())
        raise ValueError(f"{bad} of {len(score)} scores are not finite; score them again.")
    order = np.argsort(-score, kind="stable")
    starts = _tie_starts(score[order])
    true = np.add.reduceat(label[order], starts, axis=0, dtype=np.float64).cumsum(0)
    counted = np.append(starts[1:], len(score)).astype(np.float64)[:, None]
    return Curve(cuts=score[order][starts], true=true, false=counted - true)


def curve_auroc(of: Curve) -> Doubles:
    """(c,) P(s+ > s-) + P(s+ = s-) / 2; nan for a label that all or no images have."""
    tied_true, tied_false = _steps(of.true), _steps(of.false)
    wins = (tied_false * (of.true - tied_true / 2)).sum(0)
    pairs = of.true[-1] * of.false[-1]
    return _ratio(wins, pairs)


def curve_auprc(of: Curve) -> Doubles:
    """(c,) average precision, the sum of precision * step of recall; nan for a label that no image has."""
    gained = (_steps(of.true) * of.true / (of.true + of.false)).sum(0)
    return _ratio(gained, of.true[-1])


def curve_best_f1(of: Curve) -> BestCut:
    """The cut of the highest F1 per label; F1 is 0 for a label that no image has."""
    f1 = 2 * of.true / (of.true + of.false + of.true[-1])
    best = f1.argmax(0)
    return BestCut(f1=f1[best, np.arange(f1.shape[1])], cut=of.cuts[best])


def auroc(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> float:
    """P(s+ > s-) + P(s+ = s-) / 2."""
    return float(curve_auroc(_two_groups(positives, negatives))[0])


def auprc(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> float:
    """Average precision; its chance level is the share of positives."""
    return float(curve_auprc(_two_groups(positives, negatives))[0])


def best_f1(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> tuple[float, float]:
    """The highest F1 of any cut and that cut (a score >= cut is called positive)."""
    best = curve_best_f1(_two_groups(positives, negatives))
    return float(best.f1[0]), float(best.cut[0])


def f1(called: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """F1 of (n,) calls against (n,) labels; 0 when nothing is both called and labelled."""
    call, label = np.asarray(called, np.bool_), np.asarray(labels, np.bool_)
    both = int((call & label).sum())
    return 2 * both / int(call.sum() + label.sum()) if both else 0.0


def auroc_interval(
    positives: npt.ArrayLike, negatives: npt.ArrayLike, *, level: float = 0.95, seed: int | None = None
) -> Interval:
    """DeLong's interval on the logit scale; with a seed, the percentiles of 2,000 stratified resamples.

    Where the groups are apart, or wholly tied, both say nothing; then Wilson's interval for as many trials as
    the smaller group has. Biometrics 44 (1988) 837; Stat. Med. 25 (2006) 559 for the logit.
    """
    above, below = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    area, variance = _delong(above, below)
    if variance <= 1e-15 or not 0 < area < 1:
        smaller = min(len(above), len(below))
        return wilson(area * smaller, smaller, level=level)
    if seed is not None:
        return percentiles(_resampled_auroc(above, below, seed=seed), level=level)
    half = _z(level) * math.sqrt(variance) / (area * (1 - area))
    centre = math.log(area / (1 - area))
    return Interval(low=_logistic(centre - half), high=_logistic(centre + half))


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


def l0(codes: npt.ArrayLike) -> float:
    """Mean number of non-zero activations per row of an (n, F) code."""
    return float(np.count_nonzero(np.asarray(codes), axis=1).mean())


class FvuSum:
    """Fraction of variance unexplained over any number of batches: sum |x^ - x|^2 / sum |x - mean x|^2.

    Both sums run over the whole set in float64 (the global definition; per-batch or per-sample ones differ).
    """

    def __init__(self) -> None:
        self._shift: Doubles | None = None
        self._error = self._squares = 0.0
        self._total: Doubles | float = 0.0
        self._rows = 0

    def add(self, activations: npt.ArrayLike, reconstructions: npt.ArrayLike) -> None:
        """Count an (n, d) batch and its reconstruction."""
        x, rebuilt = np.asarray(activations, np.float64), np.asarray(reconstructions, np.float64)
        if self._shift is None:
            # Measured from near the mean, the sum of squares does not cancel.
            self._shift = x.mean(0)
        self._error += float(((rebuilt - x) ** 2).sum())
        self._squares += float(((x - self._shift) ** 2).sum())
        self._total = self._total + (x - self._shift).sum(0)
        self._rows += len(x)

    @property
    def value(self) -> float:
        """nan while nothing varies."""
        spread = self._squares - float(np.sum(np.square(self._total))) / max(self._rows, 1)
        return self._error / spread if spread > 0 else math.nan


def fvu(activations: npt.ArrayLike, reconstructions: npt.ArrayLike) -> float:
    """Global fraction of variance unexplained of (n, d) activations."""
    total = FvuSum()
    total.add(activations, reconstructions)
    return total.value


def _z(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _tie_starts(ordered: Doubles) -> npt.NDArray[np.intp]:
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))


def _ratio(part: Doubles, whole: Doubles) -> Doubles:
    ratio: Doubles = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return ratio


def _steps(counts: Doubles) -> Doubles:
    return np.diff(counts, axis=0, prepend=0.0)


def _two_groups(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> Curve:
    above, below = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    if above.ndim != 1 or below.ndim != 1 or not len(above) or not len(below):
        raise ValueError(f"Groups {above.shape} and {below.shape} cannot be compared; give two filled rows.")
    return curve(np.append(above, below), np.arange(len(above) + len(below))[:, None] < len(above))


def _midranks(scores: Doubles) -> Doubles:
    _, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks: Doubles = (np.cumsum(counts) - (counts - 1) / 2)[where]
    return ranks


def _delong(above: Doubles, below: Doubles) -> tuple[float, float]:
    area = auroc(above, below)
    ranks = _midranks(np.append(above, below))
    won = (ranks[: len(above)] - _midranks(above)) / len(below)
    lost = (ranks[len(above) :] - _midranks(below)) / len(above)
    if min(len(above), len(below)) < 2:
        return area, 0.0
    return area, float(won.var(ddof=1) / len(above) + lost.var(ddof=1) / len(below))


def _resampled_auroc(above: Doubles, below: Doubles, *, seed: int, rounds: int = 2000) -> Doubles:
    """(rounds,) AUROCs; a resample is a weight per score, so nothing is sorted twice."""
    rng = np.random.default_rng(seed)
    scores = np.append(above, below)
    order = np.argsort(-scores, kind="stable")
    starts = _tie_starts(scores[order])
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
