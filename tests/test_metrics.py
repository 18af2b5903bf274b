from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, mannwhitneyu, pearsonr
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score

from sae import intervals, metrics

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


def _cases(count: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Groups of 1 to 40 and 1 to 60 scores: continuous, tied, mostly zero, constant, or huge and shifted."""
    rng = np.random.default_rng(seed)
    for at in range(count):
        sizes = [1, 1][: at % 3] + [int(n) for n in rng.integers(1, 61, 2)]
        first, second = (_scores(rng, kind=at % 5, n=n) for n in sizes[:2])
        yield first, second


def _scores(rng: np.random.Generator, *, kind: int, n: int) -> np.ndarray:
    plain = rng.normal(size=n)
    kinds = (plain, plain.round(), np.maximum(0, plain - 1), np.full(n, 0.1), 1e6 + 1e-3 * plain)
    return kinds[kind]


def test_auroc_agrees_with_scikit_learn_and_the_u_statistic_on_a_thousand_cases() -> None:
    for positives, negatives in _cases(1000, seed=17):
        labels = np.arange(len(positives) + len(negatives)) < len(positives)
        found = metrics.auroc(positives, negatives)
        assert abs(found - roc_auc_score(labels, np.append(positives, negatives))) < 1e-9
        u = mannwhitneyu(negatives, positives, method="asymptotic").statistic
        assert abs(found - (1 - u / (len(positives) * len(negatives)))) < 1e-9


def test_delongs_variance_agrees_with_its_definition_over_pairs() -> None:
    for positives, negatives in _cases(300, seed=23):
        psi = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in negatives] for a in positives])
        found = intervals.delong(positives, negatives)
        assert abs(found.value - psi.mean()) < 1e-9
        if min(psi.shape) < 2:
            assert math.isnan(found.variance)
            continue
        won, lost = psi.mean(1), psi.mean(0)
        s10 = sum((v - psi.mean()) ** 2 for v in won) / (len(won) - 1)
        s01 = sum((v - psi.mean()) ** 2 for v in lost) / (len(lost) - 1)
        assert abs(found.variance - (s10 / len(won) + s01 / len(lost))) < 1e-9


def test_correlation_agrees_with_scipy() -> None:
    rng = np.random.default_rng(5)
    for n in (2, 3, 101, 1001):
        score = np.maximum(0, rng.normal(size=n)) * 1e-8 + 1e-3 * (n % 2)
        score[0] = 1.0
        shown = np.arange(n) % 3 == 0
        expected = pearsonr(score, shown.astype(float)).statistic
        assert abs(metrics.correlation(score, shown) - expected) < 1e-9
        assert abs(metrics.correlation(-1e200 * score, shown) + expected) < 1e-9


def test_correlation_with_a_constant_is_not_a_number() -> None:
    assert math.isnan(metrics.correlation(np.full(7, 0.1), np.arange(7)))
    assert math.isnan(metrics.correlation(np.arange(7), np.ones(7, bool)))
    assert metrics.correlation([1, 2, 4], [-1, -2, -4]) == -1
    with pytest.raises(ValueError, match="cannot be correlated"):
        metrics.correlation([1.0], [1.0, 2.0])


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_iou_and_f1_agree_with_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    called, labels = np.array(pairs).T
    assert metrics.iou(called, labels) == pytest.approx(jaccard_score(labels, called, zero_division=0))
    assert metrics.f1(called, labels) == pytest.approx(f1_score(labels, called, zero_division=0))


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
    interval = intervals.auroc_interval(positives, negatives, seed=seed)
    assert 0 <= interval.low <= interval.high <= 1
    if seed is None:
        assert interval.low <= area + 1e-12 and area <= interval.high + 1e-12


@pytest.mark.parametrize("n", [1, 2, 5, 30, 50, 1000])
def test_groups_that_are_apart_have_the_exact_bound_of_images_that_miss_like_the_others(n: int) -> None:
    interval = intervals.auroc_interval(np.arange(n) + 100.0, np.arange(1000) / 1000, seed=1)
    # So many misses, each with an area of 1/2, are missed by all n images one time in forty.
    assert interval.high == 1 and (1 - 2 * (1 - interval.low)) ** n == pytest.approx(0.025)
    mirrored = intervals.auroc_interval(np.arange(1000) / 1000, np.arange(n) + 100.0)
    assert mirrored == pytest.approx((0, 1 - interval.low))


@pytest.mark.parametrize("n", [3, 8, 30, 50, 200])
def test_no_auroc_interval_begins_above_that_of_groups_that_are_apart(n: int) -> None:
    perfect = intervals.auroc_interval(np.ones(n), np.zeros(1000)).low
    for contradicting in (1, 2, 5, 20, 100):
        control = np.zeros(1000)
        control[:contradicting] = 2.0
        assert intervals.auroc_interval(np.ones(n), control).low <= perfect


@settings(deadline=None)
@given(scores, scores)
def test_auroc_interval_mirrors_with_the_groups_and_always_has_a_width(
    positives: list[float], negatives: list[float]
) -> None:
    there = intervals.auroc_interval(positives, negatives)
    back = intervals.auroc_interval(negatives, positives)
    assert there == pytest.approx((1 - back.high, 1 - back.low))
    assert there.high - there.low > 0.02


def test_a_higher_level_gives_a_wider_interval() -> None:
    rng = np.random.default_rng(2)
    groups = rng.normal(1, 1, 31), rng.normal(0, 1, 101)
    narrow, usual, wide = (intervals.auroc_interval(*groups, level=level) for level in (0.8, 0.95, 0.99))
    assert wide.low < usual.low < narrow.low < narrow.high < usual.high < wide.high


@pytest.mark.parametrize("seed", [None, 11])
def test_auroc_interval_covers_as_often_as_it_says(seed: int | None) -> None:
    rng = np.random.default_rng(3)
    truth = 0.760  # of two unit normals whose means lie 1 apart: Phi(1 / sqrt 2)
    rounds = 400 if seed is None else 20
    held = 0
    for _ in range(rounds):
        interval = intervals.auroc_interval(rng.normal(1, 1, 50), rng.normal(0, 1, 300), seed=seed)
        held += interval.low <= truth <= interval.high
    assert 0.91 <= held / rounds <= 1 if seed is None else held >= 15


def test_newcombe_knows_the_published_values() -> None:
    # Newcombe, Stat. Med. 17 (1998) 873, table II, method 10.
    assert intervals.newcombe((56, 70), (48, 80)).interval == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert intervals.newcombe((9, 10), (3, 10)).interval == pytest.approx((0.1705, 0.8090), abs=1e-4)
    assert intervals.newcombe((10, 10), (0, 20)).interval == pytest.approx((0.6791, 1.0), abs=1e-4)
    assert intervals.newcombe((9, 10), (3, 10)).value == pytest.approx(0.6)
    with pytest.raises(ValueError, match="at least one trial"):
        intervals.newcombe((0, 0), (1, 2))


def test_wilson_is_the_score_interval_of_scipy() -> None:
    for successes, trials in [(0, 3), (1, 7), (37, 38), (250, 1001), (5, 5)]:
        expected = binomtest(successes, trials).proportion_ci(method="wilson")
        assert intervals.wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_knows_the_textbook_values() -> None:
    assert intervals.wilson(0, 50) == pytest.approx((0, 0.0713), abs=1e-4)
    assert intervals.wilson(44, 50) == pytest.approx((0.7619, 0.9438), abs=1e-4)
    assert intervals.wilson(0, 0) == (0, 1)


@settings(deadline=None)
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_rate(tried: tuple[int, int]) -> None:
    low, high = intervals.wilson(*tried)
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

    first, again = (intervals.bootstrap(difference, groups, seed=4, rounds=200) for _ in range(2))
    assert first == again and sizes == {(10, 5)}
    assert first.value == 2.5 and first.interval.low < 2.5 < first.interval.high


def test_paired_difference_uses_the_pairs() -> None:
    ours = np.linspace(0, 1, 30)
    found = intervals.paired_difference(ours + 0.1, ours, seed=0)
    assert found.value == pytest.approx(0.1) and found.interval == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize("wrong", [[], [[1.0]], [math.nan]])
def test_unusable_scores_are_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match=r"cannot be compared|not finite"):
        metrics.auroc(wrong, [0.0])
