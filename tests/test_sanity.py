from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from evals import sanity
from evals.sanity import sanity_rows
from evals.scoreboard import SanityRow
from sae import metrics

BOTH = ("correlation", "cosine", "AUPRC", "F1", "IoU")


def _cases(count: int, *, n: int, share: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sparse features that fire on their concept and on a little else."""
    rng = np.random.default_rng(3)
    for _ in range(count):
        shows = rng.random(n) < share
        fires = np.where(shows, rng.random(n) < 0.85, rng.random(n) < share / 2)
        yield np.where(fires, rng.exponential(1.0, n) + shows, 0).astype(np.float32), shows


def _by_metric(rows: tuple[SanityRow, ...]) -> dict[str, SanityRow]:
    return {row.metric: row for row in rows}


@pytest.fixture(scope="module")
def rare() -> dict[str, SanityRow]:
    """Rows for concepts as rare as a class among a thousand."""
    return _by_metric(sanity_rows(_cases(60, n=10_007, share=0.003), seed=1))


@pytest.mark.parametrize("metric", BOTH)
def test_measures_of_recall_and_precision_pass_both_tests(rare: dict[str, SanityRow], metric: str) -> None:
    assert (rare[metric].missing.value or 0) > 0.9 and (rare[metric].extra.value or 0) > 0.9


FIXED = ("AUROC, fixed control", "MAD, fixed control", "max-MAD, fixed control")


@pytest.mark.parametrize("metric", ["AUROC", "recall", "balanced accuracy", *FIXED])
def test_cosys_measures_miss_a_name_that_is_too_narrow(rare: dict[str, SanityRow], metric: str) -> None:
    assert 0.3 < (rare[metric].missing.value or 0) < 0.8
    assert (rare[metric].extra.value or 0) > 0.95
    assert rare[metric].missing.low is not None and rare[metric].missing.n == 60


def test_auroc_notices_missing_labels_of_a_common_concept() -> None:
    rows = _by_metric(sanity_rows(_cases(40, n=4001, share=0.2), seed=1))
    assert (rows["AUROC"].missing.value or 0) > 0.9
    assert 0.2 < (rows["recall"].missing.value or 0) < 0.8
    for metric in FIXED:
        assert 0.2 < (rows[metric].missing.value or 0) < 0.8 < (rows[metric].extra.value or 0)


def test_the_scores_are_those_of_our_own_metrics() -> None:
    ((score, shows),) = _cases(1, n=501, share=0.1)
    labels = np.column_stack((shows, shows, shows))
    found = {name: float(row[0]) for name, row in sanity._scores(score.astype(np.float64), labels).items()}
    above, below = score[shows].astype(np.float64), score[~shows].astype(np.float64)
    best, cut = metrics.best_f1(above, below)
    called = score >= cut
    gap = above.mean() - below.mean()
    recall = (above >= cut).mean()
    assert found == pytest.approx(
        {
            "recall": recall,
            "F1": best,
            "IoU": metrics.iou(called, shows),
            "balanced accuracy": recall - (below >= cut).mean(),
            "AUROC": 2 * metrics.auroc(above, below) - 1,
            "AUPRC": metrics.auprc(above, below),
            "MAD": gap / below.std(ddof=1),
            "max-MAD": gap / below.max(),
            "correlation": metrics.correlation(score, shows),
            "AUROC, fixed control": 2 * metrics.auroc(above, score) - 1,
            "MAD, fixed control": (above.mean() - score.mean(dtype=np.float64))
            / score.std(ddof=1, dtype=np.float64),
            "max-MAD, fixed control": (above.mean() - score.mean(dtype=np.float64)) / score.max(),
            "cosine": above.sum() / np.sqrt((score.astype(np.float64) ** 2).sum() * shows.sum()),
        },
        rel=1e-6,
    )


def test_cases_that_prove_nothing_are_left_out() -> None:
    n = 31
    none, every, rng = np.zeros(n, bool), np.ones(n, bool), np.random.default_rng(0)
    assert sanity_rows([(rng.random(n), none), (rng.random(n), every)], seed=0) == ()
    dead = sanity_rows([(np.zeros(n), np.arange(n) < 9)], seed=0)
    assert _by_metric(dead)["correlation"].missing.n == 0
    assert _by_metric(dead)["AUROC"].missing.value is None


def test_the_seed_decides_and_large_cases_are_sampled() -> None:
    cases = list(_cases(2, n=sanity.MOST_IMAGES + 13, share=0.05))
    assert sanity_rows(cases, seed=4) == sanity_rows(iter(cases), seed=4)
    score, truth = sanity._sampled(*cases[0], rng=np.random.default_rng(0))
    assert score.shape == truth.shape == (sanity.MOST_IMAGES,)
