"""Bins of equal mass, and how far stated confidences lie from what came of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.answer import Answer
from evals.calibration import BINS, bins_of, calibration_bins, calibration_errors, expected_error
from evals.cell import Cell
from evals.subject import Truth
from tests.evaluated_cells import cell, failed, named


def unnamed(index: int, concept: str) -> Cell:
    return cell("a", index, truth=Truth(concept=concept, kind="object"), answer=Answer(name=None))


def test_each_bin_holds_a_fifth_of_the_names() -> None:
    sure = np.array([0.9, 0.1, 0.2, 0.95, 0.3, 0.97, 0.99, 0.4, 0.98, 0.91])
    places = bins_of(sure)
    assert np.bincount(places).tolist() == [2] * BINS
    assert sure[places == 0].max() < sure[places == 1].min()
    assert places[sure == 0.99] == BINS - 1


def test_equal_confidences_share_a_bin_and_bins_may_be_left_empty() -> None:
    sure = np.array([0.0] * 5 + [0.5] + [1.0] * 4)
    assert bins_of(sure).tolist() == [1] * 5 + [2] + [4] * 4
    assert bins_of(np.full(7, 0.5)).tolist() == [2] * 7


@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=40))
def test_bins_keep_the_order_of_confidences_and_never_part_equal_ones(sure: list[float]) -> None:
    row = np.array(sure)
    places = bins_of(row)
    order = np.argsort(row, kind="stable")
    assert (np.diff(places[order]) >= 0).all()
    assert len({(value, place) for value, place in zip(sure, places.tolist(), strict=True)}) == len(set(sure))
    assert set(places.tolist()) <= set(range(BINS))


def test_the_error_is_weighted_by_mass() -> None:
    sure = np.array([0.2] * 6 + [0.9] * 4)
    right = np.array([0.0] * 6 + [1.0, 1.0, 0.0, 0.0])
    assert expected_error(sure, right) == pytest.approx(0.6 * 0.2 + 0.4 * 0.4)
    assert expected_error(right, right) == 0.0


def test_bins_tell_their_ends_and_only_names_with_a_confidence_count() -> None:
    sure = [0.1, 0.19, 0.2, 0.98, 0.99, 1.0, 1.0]
    cells = [named("a", at, right=at > 3, confidence=each) for at, each in enumerate(sure)]
    bins = calibration_bins([*cells, named("b", 0, right=True), failed("a", 9), cell("a", 8)])
    assert [(each.condition, each.low, each.high, each.accuracy.n) for each in bins] == [
        ("a", 0.1, 0.1, 1),
        ("a", 0.19, 0.2, 2),
        ("a", 0.98, 0.98, 1),
        ("a", 0.99, 0.99, 1),
        ("a", 1.0, 1.0, 2),
    ]
    assert bins[1].confidence == pytest.approx(0.195)
    assert bins[0].accuracy.value == 0.0 and bins[-1].accuracy.value == 1.0


def test_the_errors_are_of_names_and_of_everything_said() -> None:
    names = [named("a", at, right=at % 2 == 0, confidence=0.5) for at in range(8)]
    silent = [unnamed(20, ""), unnamed(21, ""), unnamed(22, "fish"), unnamed(23, "red")]
    (error,) = calibration_errors([*names, *silent, failed("a", 9)], seed=0)
    assert error.condition == "a"
    assert error.names.value == pytest.approx(0.0) and error.names.n == 8
    # Of four abstentions two are right, and all count as sure.
    assert error.everything.value == pytest.approx(4 * 0.5 / 12) and error.everything.n == 12
    low, high = error.everything.low, error.everything.high
    assert low is not None and high is not None and low < 4 * 0.5 / 12 < high


def test_without_a_stated_confidence_there_is_no_error() -> None:
    assert calibration_errors([named("b", 0, right=True), cell("b", 1)], seed=0) == ()
    assert calibration_bins([named("b", 0, right=True)]) == ()
    (single,) = calibration_errors([named("a", 0, right=True, confidence=0.9)], seed=0)
    assert single.names.value is None


def test_errors_are_resampled_by_the_seed() -> None:
    cells = [named("a", at, right=at % 3 == 0, confidence=at / 20) for at in range(20)]
    one, again, other = (calibration_errors(cells, seed=seed) for seed in (1, 1, 2))
    assert one == again and one != other
