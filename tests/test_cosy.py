from __future__ import annotations

import math
from fractions import Fraction
from statistics import variance

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.interval_coverage import Setting, measure
from tools.cosy import score_explanation
from tools.protocols import Floats, ScoreExplanation

scored: ScoreExplanation = score_explanation

levels = st.sampled_from([0.0, 0.0, 0.0, 0.25, 0.5, 1.0, 2.0, 7.5])
columns = st.lists(levels, min_size=2, max_size=40)


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


def test_figures_of_a_small_case_done_by_hand() -> None:
    score = score_explanation(floats(3, 1, 0), floats(0, 0, 1, 2), threshold=0.5, share=0.25)
    # 3 beats four; 1 beats two and ties one; 0 ties two: (4 + 2.5 + 1) / 12.
    assert score.auroc == pytest.approx(7.5 / 12)
    difference = 4 / 3 - 3 / 4
    assert score.mad == pytest.approx(difference / np.std([0, 0, 1, 2], ddof=1))
    assert score.max_mad == pytest.approx(difference / 2)
    assert score.ceiling == pytest.approx(0.875)
    assert score.activation_rate == pytest.approx(2 / 3)
    assert score.control_rate == pytest.approx(1 / 2)
    assert (score.n_generated, score.n_control) == (3, 4)


def test_all_ties_are_chance() -> None:
    score = score_explanation(floats(0, 0, 0), floats(0, 0, 0, 0, 0), threshold=0.0)
    assert score.auroc == 0.5
    assert (score.mad, score.max_mad, score.ceiling) == (None, None, None)
    assert score.auroc_ci.low < 0.5 < score.auroc_ci.high


def test_constant_control_has_no_mad_even_when_its_computed_std_is_a_rounding_error() -> None:
    score = score_explanation(floats(1, 2), floats(*[0.1] * 7), threshold=0.5)
    assert score.mad is None
    assert score.max_mad == pytest.approx(14.0)


def test_one_control_image_has_no_spread() -> None:
    assert score_explanation(floats(1, 2), floats(0.5), threshold=0.7).mad is None


def test_max_mad_is_none_unless_the_control_reaches_above_zero() -> None:
    assert score_explanation(floats(1), floats(-2, -1), threshold=0.0).max_mad is None


def test_negative_activations_keep_the_order() -> None:
    assert score_explanation(floats(-1, -2), floats(-3, -4), threshold=0.0).auroc == 1.0


def test_a_feature_fires_above_its_threshold_not_at_it() -> None:
    score = score_explanation(floats(0.5, 0.6), floats(0.5, 0.4), threshold=0.5)
    assert (score.activation_rate, score.control_rate) == (0.5, 0.0)


@pytest.mark.parametrize(("n", "lowest"), [(5, 0.4), (50, 0.9)])
def test_perfect_separation_is_not_certainty(n: int, lowest: float) -> None:
    score = score_explanation(np.ones(n, np.float32), np.zeros(1000, np.float32), threshold=0.5)
    assert score.auroc == 1.0
    assert lowest < score.auroc_ci.low < 1.0
    assert score.auroc_ci.high == 1.0


def test_a_contradicted_name_is_not_surer_than_an_uncontradicted_one() -> None:
    control = np.zeros(1000, np.float32)
    perfect = score_explanation(np.ones(50, np.float32), control, threshold=0.5)
    control[0] = 2.0
    contradicted = score_explanation(np.ones(50, np.float32), control, threshold=0.5)
    assert contradicted.auroc < 1.0
    assert contradicted.auroc_ci.low <= perfect.auroc_ci.low


def test_the_largest_sizes_are_exact() -> None:
    rng = np.random.default_rng(0)
    generated = rng.normal(1, 1, 50).astype(np.float32)
    control = np.where(rng.random(50_000) < 0.97, 0, rng.exponential(1, 50_000)).astype(np.float32)
    pairs = generated[:, None] - control[None, :]
    exact = float((pairs > 0).mean() + (pairs == 0).mean() / 2)
    assert score_explanation(generated, control, threshold=1.0).auroc == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(
    ("generated", "control"),
    [
        (floats(), floats(1, 2)),
        (floats(1), floats()),
        (floats(1, math.nan), floats(1, 2)),
        (floats(1), floats(0, math.inf)),
        (np.ones((2, 2), np.float32), floats(1, 2)),
    ],
)
def test_nothing_unusable_is_scored(generated: Floats, control: Floats) -> None:
    with pytest.raises(ValueError, match=r"activations (have shape|are not finite).*;"):
        score_explanation(generated, control, threshold=0.5)


@pytest.mark.parametrize(("threshold", "share"), [(math.nan, None), (0.5, -0.1), (0.5, 1.5), (0.5, math.nan)])
def test_threshold_and_share_are_checked(threshold: float, share: float | None) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        score_explanation(floats(1), floats(0), threshold=threshold, share=share)


@settings(deadline=None)
@given(columns, columns)
def test_auroc_counts_pairs_with_ties_at_one_half(first: list[float], second: list[float]) -> None:
    score = score_explanation(floats(*first), floats(*second), threshold=0.3)
    wins = sum((a > b) + 0.5 * (a == b) for a in first for b in second)
    assert score.auroc == pytest.approx(wins / (len(first) * len(second)))


@settings(deadline=None)
@given(columns, columns)
def test_swapping_the_sets_mirrors_the_auroc(first: list[float], second: list[float]) -> None:
    there = score_explanation(floats(*first), floats(*second), threshold=0.3).auroc
    back = score_explanation(floats(*second), floats(*first), threshold=0.3).auroc
    assert there + back == pytest.approx(1.0)


@settings(deadline=None)
@given(columns, columns, st.integers(0, 5))
def test_intervals_hold_their_figures_and_have_a_width(
    first: list[float], second: list[float], seed: int
) -> None:
    score = score_explanation(floats(*first), floats(*second), threshold=0.3, seed=seed)
    for figure, interval in (
        (score.auroc, score.auroc_ci),
        (score.activation_rate, score.activation_rate_ci),
        (score.control_rate, score.control_rate_ci),
    ):
        assert 0.0 <= interval.low <= figure <= interval.high <= 1.0
        assert interval.high - interval.low > 0.01


@settings(deadline=None)
@given(columns, columns, st.sampled_from([0.5, 2.0, 8.0]))
def test_figures_do_not_depend_on_the_unit(first: list[float], second: list[float], unit: float) -> None:
    one = score_explanation(floats(*first), floats(*second), threshold=0.3)
    other = score_explanation(floats(*first) * unit, floats(*second) * unit, threshold=0.3 * unit)
    assert other.auroc == one.auroc
    assert other.activation_rate == one.activation_rate
    assert (other.mad is None) == (one.mad is None)
    assert other.mad == (None if one.mad is None else pytest.approx(one.mad, abs=1e-9))


def test_mad_agrees_with_exact_fractions_on_a_thousand_cases() -> None:
    rng = np.random.default_rng(29)
    for at in range(1000):
        n1, n0 = (int(n) for n in rng.integers(1, 41, 2))
        shown, rest = rng.normal(size=n1).astype(np.float32), rng.normal(size=n0).astype(np.float32)
        if at % 4 == 1:
            shown, rest = shown.round(), rest.round()
        if at % 4 == 2:
            shown, rest = np.maximum(0, shown), np.maximum(0, rest - 1)
        if at % 4 == 3:
            rest = np.full(n0, rest[0])
        score = score_explanation(shown, rest, threshold=0.5)
        a1, a0 = [Fraction(float(x)) for x in shown], [Fraction(float(x)) for x in rest]
        gap = sum(a1) / n1 - sum(a0) / n0
        if len(set(a0)) == 1:
            assert score.mad is None
        else:
            exact = float(gap) / math.sqrt(variance(a0))
            assert score.mad is not None and abs(score.mad - exact) < 1e-9 * max(1.0, abs(exact))
        if max(a0) <= 0:
            assert score.max_mad is None
        else:
            exact = float(gap / max(a0))
            assert score.max_mad is not None and abs(score.max_mad - exact) < 1e-9 * max(1.0, abs(exact))


# benchmarks/interval_coverage.py measures all settings with more rounds. 1,000 rounds of a true 95 % lie
# within 95 +- 2.1 % at three standard errors.
@pytest.mark.parametrize(
    ("area", "generated"), [(0.5, 30), (0.7, 50), (0.9, 30), (0.95, 30), (0.95, 50), (0.99, 30), (0.99, 50)]
)
def test_the_interval_covers_the_truth_as_often_as_it_says(area: float, generated: int) -> None:
    found = measure(Setting(area, 0.0, generated), rounds=1000, seed=1)
    assert 0.925 <= found.share <= 0.98
    assert found.least_width > 0.02


@pytest.mark.parametrize(("area", "zeros"), [(0.5, 0.97), (0.6, 0.97), (0.8, 0.9), (0.99, 0.97)])
def test_the_interval_covers_the_truth_of_sparse_features_at_least_as_often(
    area: float, zeros: float
) -> None:
    found = measure(Setting(area, zeros, 30), rounds=1000, seed=2)
    assert found.share >= 0.92
    assert found.least_width > 0.02
