"""Exact measures, on numpy alone (their intervals: sae/intervals.py).

``positives`` and ``negatives`` are always (n,) scores of the two groups.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


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


def iou(called: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Intersection over union of (n,) calls and (n,) labels; 0 when nothing is both called and labelled."""
    call, label = np.asarray(called, np.bool_), np.asarray(labels, np.bool_)
    both = int((call & label).sum())
    return both / int((call | label).sum()) if both else 0.0


def correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Pearson's, of two rows of n numbers or labels, in float64; nan where either is constant."""
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise ValueError(f"Rows {x.shape} and {y.shape} cannot be correlated; give two of the same n > 0.")
    # A constant's computed deviations can be rounding errors, so constancy is asked for directly.
    if x.min() == x.max() or y.min() == y.max():
        return math.nan
    # Scaled first, so that no square over- or underflows.
    x, y = (each / np.abs(each).max() for each in (x - x.mean(), y - y.mean()))
    return min(1.0, max(-1.0, float(x @ y / math.sqrt(float(x @ x) * float(y @ y)))))


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
