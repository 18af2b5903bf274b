from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from sae import metrics

# Few distinct values, so that ties are common.
scores = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0]), min_size=1, max_size=30)


def _labelled(positives: list[float], negatives: list[float]) -> tuple[list[int], list[float]]:
    return [1] * len(positives) + [0] * len(negatives), positives + negatives


@settings(deadline=None)
@given(scores, scores)
def test_ranking_measures_equal_scikit_learn(positives: list[float], negatives: list[float]) -> None:
    labels, values = _labelled(positives, negatives)
    assert metrics.auroc(positives, negatives) == pytest.approx(roc_auc_score(labels, values))
    assert metrics.auprc(positives, negatives) == pytest.approx(average_precision_score(labels, values))


@settings(deadline=None)
@given(scores, scores)
def test_best_f1_is_the_best_of_all_cuts(positives: list[float], negatives: list[float]) -> None:
    labels, values = _labelled(positives, negatives)
    best, cut = metrics.best_f1(positives, negatives)
    assert best == pytest.approx(max(f1_score(labels, np.asarray(values) >= c) for c in set(values)))
    assert metrics.f1(np.asarray(values) >= cut, labels) == pytest.approx(best)


def test_auroc_counts_ties_as_half() -> None:
    assert metrics.auroc([1.0, 0.0], [0.0]) == 0.75
    assert metrics.auroc([0.0] * 3, [0.0] * 4) == 0.5


@settings(deadline=None)
@given(scores, scores)
def test_auroc_reverses_with_the_groups(positives: list[float], negatives: list[float]) -> None:
    assert metrics.auroc(positives, negatives) + metrics.auroc(negatives, positives) == pytest.approx(1)


def test_several_labels_at_once_equal_each_alone() -> None:
    rng = np.random.default_rng(0)
    score, labels = rng.integers(0, 5, 57).astype(float), rng.random((57, 4)) < 0.3
    labels[:, 3] = False
    counted = metrics.curve(score, labels)
    areas, best = metrics.curve_auroc(counted), metrics.curve_best_f1(counted)
    for c in range(3):
        positives, negatives = score[labels[:, c]], score[~labels[:, c]]
        assert areas[c] == pytest.approx(metrics.auroc(positives, negatives))
        assert (best.f1[c], best.cut[c]) == pytest.approx(metrics.best_f1(positives, negatives))
    assert math.isnan(areas[3]) and math.isnan(metrics.curve_auprc(counted)[3]) and best.f1[3] == 0


@settings(deadline=None, max_examples=40)
@given(scores, scores, st.one_of(st.none(), st.integers(0, 3)))
def test_auroc_interval_holds_the_estimate(
    positives: list[float], negatives: list[float], seed: int | None
) -> None:
    area = metrics.auroc(positives, negatives)
    interval = metrics.auroc_interval(positives, negatives, seed=seed)
    assert 0 <= interval.low <= interval.high <= 1
    if seed is None:
        assert interval.low <= area + 1e-12 and area <= interval.high + 1e-12


def test_auroc_interval_of_separated_groups_is_not_a_point() -> None:
    interval = metrics.auroc_interval(np.arange(50) + 100.0, np.arange(1000) / 1000, seed=1)
    assert 0.9 < interval.low < 0.95 and interval.high == 1


@pytest.mark.parametrize("seed", [None, 11])
def test_auroc_interval_covers_as_often_as_it_says(seed: int | None) -> None:
    rng = np.random.default_rng(3)
    truth = 0.760  # of two unit normals whose means lie 1 apart: Phi(1 / sqrt 2)
    rounds = 400 if seed is None else 20
    held = 0
    for _ in range(rounds):
        interval = metrics.auroc_interval(rng.normal(1, 1, 50), rng.normal(0, 1, 300), seed=seed)
        held += interval.low <= truth <= interval.high
    assert 0.91 <= held / rounds <= 1 if seed is None else held >= 15


def test_wilson_knows_the_textbook_values() -> None:
    assert metrics.wilson(0, 50) == pytest.approx((0, 0.0713), abs=1e-4)
    assert metrics.wilson(44, 50) == pytest.approx((0.7619, 0.9438), abs=1e-4)
    assert metrics.wilson(0, 0) == (0, 1)


@settings(deadline=None)
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_rate(tried: tuple[int, int]) -> None:
    low, high = metrics.wilson(*tried)
    assert 0 <= low <= tried[0] / tried[1] <= high <= 1


def test_fvu_is_global_whatever_the_batches() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(103, 7)) + 1e4
    rebuilt = x + rng.normal(scale=0.1, size=x.shape)
    whole = ((rebuilt - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    batched = metrics.FvuSum()
    for start in range(0, len(x), 10):
        batched.add(x[start : start + 10], rebuilt[start : start + 10])
    assert batched.value == pytest.approx(whole, rel=1e-9)
    assert metrics.fvu(x, x) == 0 and metrics.fvu(x, np.broadcast_to(x.mean(0), x.shape)) == pytest.approx(1)
    assert math.isnan(metrics.fvu(np.ones((3, 2)), np.ones((3, 2))))


def test_l0_counts_non_zero_activations() -> None:
    assert metrics.l0(np.array([[0, 1.5, -1], [0, 0, 0]])) == 1


def test_bootstrap_is_seeded_and_stratified() -> None:
    groups = [np.arange(10.0), np.arange(5.0)]
    sizes: set[tuple[int, int]] = set()

    def difference(a: np.ndarray, b: np.ndarray) -> float:
        sizes.add((len(a), len(b)))
        return float(a.mean() - b.mean())

    first, again = (metrics.bootstrap(difference, groups, seed=4, rounds=200) for _ in range(2))
    assert first == again and sizes == {(10, 5)}
    assert first.value == 2.5 and first.interval.low < 2.5 < first.interval.high


def test_paired_difference_uses_the_pairs() -> None:
    ours = np.linspace(0, 1, 30)
    found = metrics.paired_difference(ours + 0.1, ours, seed=0)
    assert found.value == pytest.approx(0.1) and found.interval == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize("wrong", [[], [[1.0]], [math.nan]])
def test_unusable_scores_are_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match=r"cannot be compared|not finite"):
        metrics.auroc(wrong, [0.0])
