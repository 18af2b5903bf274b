"""Whether a metric notices a wrong concept: the missing- and extra-label tests of arXiv 2506.05774.

A feature's true concept is made too narrow (each positive label kept with probability 1/2) or too wide (each
negative one turned positive with probability positives / negatives, which doubles the positives). A metric
passes where its score drops by more than 0.001 of the score of the true labels; AUROC and balanced accuracy
are counted from chance, 1/2.

AUROC, MAD and max-MAD are tried twice: on labelled against unlabelled images, as in the paper, where missing
labels show as far as they come to be many among the unlabelled, or alone fire there; and against a fixed
control set, here all images, as CoSy uses them, where nothing shows them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from evals.figures import share_of
from evals.scoreboard import SanityRow
from evals.subject import Bools
from sae.metrics import curve, curve_auprc, curve_auroc, curve_best_f1

LEAST_DROP = 0.001
MOST_IMAGES = 20_000
"""A case with more images is tried on so many of them, chosen at random."""

Doubles = npt.NDArray[np.float64]
_Scores = dict[str, Doubles]


def sanity_rows(cases: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]], *, seed: int) -> tuple[SanityRow, ...]:
    """How often each metric passes either test, over cases of (n,) finite activations and (n,) labels.

    A case counts for a metric only where the metric is defined and above chance for the true labels. Calls
    (recall, F1, IoU, balanced accuracy) are those of the cut with the best F1 for the true labels.
    """
    rng = np.random.default_rng(seed)
    passed: dict[str, tuple[list[bool], list[bool]]] = {}
    for activations, labels in cases:
        score, truth = _sampled(np.asarray(activations, np.float64), np.asarray(labels, np.bool_), rng=rng)
        if not 0 < truth.sum() < len(truth):
            continue
        for metric, scores in _scores(score, _three(truth, rng=rng)).items():
            held = passed.setdefault(metric, ([], []))
            for into, after in zip(held, scores[1:], strict=True):
                if scores[0] > 0 and np.isfinite((scores[0], after)).all():
                    into.append(bool((scores[0] - after) / scores[0] > LEAST_DROP))
    return tuple(
        SanityRow(metric=metric, missing=share_of(missing), extra=share_of(extra))
        for metric, (missing, extra) in passed.items()
    )


def _sampled(score: Doubles, truth: Bools, *, rng: np.random.Generator) -> tuple[Doubles, Bools]:
    if len(score) <= MOST_IMAGES:
        return score, truth
    chosen = rng.choice(len(score), size=MOST_IMAGES, replace=False)
    return score[chosen], truth[chosen]


def _three(truth: Bools, *, rng: np.random.Generator) -> Bools:
    """(n, 3): the labels, with some missing, with some extra."""
    drawn = rng.random((2, len(truth)))
    extra = truth | (drawn[1] < truth.sum() / (~truth).sum())
    return np.column_stack((truth, truth & (drawn[0] < 0.5), extra))


def _scores(score: Doubles, labels: Bools) -> _Scores:
    """By metric, (3,) scores counted from chance: of the labels, with missing ones, with extra ones."""
    counted = curve(score, labels)
    cut = float(curve_best_f1(counted).cut[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            **_called_scores(score >= cut, labels),
            "AUROC": 2 * curve_auroc(counted) - 1,
            "AUPRC": curve_auprc(counted),
            **_mean_scores(score, labels),
            **_fixed_scores(score, labels),
        }


def _called_scores(called: Bools, labels: Bools) -> _Scores:
    positives, calls = labels.sum(0), called.sum()
    both = (labels & called[:, None]).sum(0)
    recall, false = both / positives, (calls - both) / (len(labels) - positives)
    return {
        "recall": recall,
        "F1": 2 * both / (positives + calls),
        "IoU": both / (positives + calls - both),
        "balanced accuracy": recall - false,
    }


def _mean_scores(score: Doubles, labels: Bools) -> _Scores:
    """What is made of means: MAD, max-MAD, correlation and cosine."""
    label = labels.astype(np.float64)
    n, positives, summed = len(score), label.sum(0), score @ label
    negatives = n - positives
    rest, squares = score.sum() - summed, (score**2).sum() - (score**2) @ label
    gap = summed / positives - rest / negatives
    spread = np.sqrt((squares - rest**2 / negatives) / (negatives - 1))
    highest = np.where(labels, -np.inf, score[:, None]).max(0)
    share = positives / n
    return {
        "MAD": gap / spread,
        "max-MAD": np.where(highest > 0, gap / highest, np.nan),
        "correlation": gap * np.sqrt(share * (1 - share)) / score.std(),
        "cosine": summed / np.sqrt(positives * (score**2).sum()),
    }


def _fixed_scores(score: Doubles, labels: Bools) -> _Scores:
    """What CoSy makes of labelled images against a control set that the labels do not change."""
    ordered = np.sort(score)
    beaten = np.searchsorted(ordered, score, "left") + np.searchsorted(ordered, score, "right")
    label, positives = labels.astype(np.float64), labels.sum(0)
    gap = score @ label / positives - score.mean()
    return {
        "AUROC, fixed control": beaten @ label / positives / len(score) - 1,
        "MAD, fixed control": gap / score.std(ddof=1),
        "max-MAD, fixed control": gap / score.max(),
    }
