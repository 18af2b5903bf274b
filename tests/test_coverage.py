from __future__ import annotations

import pytest

from evals.answer import Answer
from evals.coverage import coverage_curves
from evals.subject import Truth
from tests.evaluated_cells import cell, failed, named


def test_coverage_falls_and_precision_is_of_the_names_kept() -> None:
    cells = [
        named("a", 0, right=True, confidence=0.9),
        named("a", 1, right=False, confidence=0.5),
        named("a", 2, right=True, confidence=0.7, verdict="weak"),
        cell("a", 3),
        failed("a", 4),
    ]
    (curve,) = coverage_curves(cells)
    assert (curve.condition, curve.title, curve.by) == ("a", "A", "confidence")
    assert [(each.cut, each.coverage, each.precision) for each in curve.points] == [
        (0.9, 0.25, 1.0),
        (0.7, 0.5, 1.0),
        (0.5, 0.75, pytest.approx(2 / 3)),
    ]
    assert curve.area == pytest.approx((1 + 1 + 2 / 3 + 0) / 4)


def test_names_of_equal_confidence_come_in_no_order() -> None:
    tied = [named("a", at, right=at == 0, confidence=0.5) for at in range(3)]
    (one,), (other,) = coverage_curves(tied), coverage_curves(tied[::-1])
    assert one == other and len(one.points) == 1
    assert one.area == pytest.approx(1 / 3)


def test_without_confidence_the_own_score_ranks_and_without_both_there_is_no_curve() -> None:
    scored = [named("a", at, right=at > 3, score=float(-at)) for at in range(7)]
    half = [named("b", 0, right=True, confidence=0.5), named("b", 1, right=True)]
    (curve,) = coverage_curves([*scored, *half, cell("c", 0)])
    assert (curve.condition, curve.by, curve.points[0].cut) == ("a", "own score", 0.0)
    assert curve.points[0].precision == 0 and curve.points[-1].precision == pytest.approx(3 / 7)


def test_a_name_for_nothing_is_wrong_and_unknown_truths_do_not_count() -> None:
    nothing = named("a", 0, right=True, confidence=0.9)
    cells = [
        nothing.model_copy(update={"truth": Truth(concept="", kind="dead")}),
        named("a", 1, right=True, confidence=0.8),
        cell("a", 2, truth=None, answer=Answer(name="x", confidence=1.0)),
    ]
    (curve,) = coverage_curves(cells)
    assert [(each.coverage, each.precision) for each in curve.points] == [(0.5, 0.0), (1.0, 0.5)]
