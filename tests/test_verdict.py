"""The verdict depends on its figures alone, and says what they support."""

from __future__ import annotations

import pytest

from agent.verdict import Bars, Figures, decide, lift
from tools.protocols import CosyScore, Interval


def score(
    auroc: float, *, low: float | None = None, ceiling: float | None = None, rate: float = 0.9, n: int = 50
) -> CosyScore:
    lowest = auroc - 0.05 if low is None else low
    return CosyScore(
        auroc=auroc,
        auroc_ci=Interval(low=lowest, high=min(1.0, auroc + 0.05)),
        ceiling=ceiling,
        mad=None,
        max_mad=None,
        activation_rate=rate,
        activation_rate_ci=Interval(low=rate - 0.1, high=min(1.0, rate + 0.05)),
        control_rate=0.1,
        control_rate_ci=Interval(low=0.08, high=0.12),
        n_generated=n,
        n_control=1000,
    )


ALIVE = Figures(density=0.1, threshold=1.0, charged=60, fired=20, asked=50)


def said(**changes: object) -> str:
    return decide(ALIVE.model_copy(update=changes)).verdict


def test_features_that_say_nothing() -> None:
    assert said(density=0.0, threshold=0.0) == "dead"
    assert said(density=0.97, sealed=score(0.95)) == "dense"
    assert said(density=0.6) == "dense"
    assert said() == "unexplained"
    assert said(fired=0, tag_lift=0.2) == "unexplained"
    assert said(fired=0, tag_lift=2.0) == "unrenderable"
    assert said(charged=0) == "failed"


def test_a_name_needs_a_sealed_score_well_above_the_floor() -> None:
    assert said(sealed=score(0.9)) == "named"
    assert said(sealed=score(0.7)) == "weak"
    assert said(sealed=score(0.55)) == "unexplained"
    assert said(sealed=score(0.7, low=0.49)) == "unexplained"
    assert said(sealed=score(0.9), floor=0.86) == "unexplained"
    assert said(sealed=score(0.9), floor=0.2) == "named"


def test_the_ceiling_counts_where_it_is_known() -> None:
    assert said(sealed=score(0.74)) == "weak"
    assert said(sealed=score(0.74, ceiling=0.8)) == "named"


def test_a_name_that_fires_no_more_than_the_control_is_weak() -> None:
    assert said(sealed=score(0.95, rate=0.2)) == "weak"


def test_an_or_needs_all_its_parts() -> None:
    both, one = (score(0.9), score(0.85)), (score(0.95), score(0.6))
    assert said(sealed=score(0.9), joined="or", parts=both) == "polysemantic"
    assert said(sealed=score(0.8), joined="or", parts=one) == "weak"
    assert said(sealed=score(0.9), joined="or", parts=both[:1]) == "weak"
    assert said(sealed=score(0.9), joined="and") == "named"


def test_too_few_usable_images_are_no_score() -> None:
    assert said(sealed=score(0.95, n=20)) == "unexplained"
    assert said(sealed=score(0.95, n=25)) == "named"


def test_confidence_is_the_lift_of_the_lower_end_and_0_without_a_name() -> None:
    decision = decide(ALIVE.model_copy(update={"sealed": score(0.9, low=0.8, ceiling=0.9)}))
    assert decision.confidence == pytest.approx(0.75)
    weakest = decide(
        ALIVE.model_copy(
            update={"sealed": score(0.9), "joined": "or", "parts": (score(0.9), score(0.85, low=0.6))}
        )
    )
    assert weakest.confidence == pytest.approx(0.2)
    assert decide(ALIVE).confidence == 0.0


def test_lift_is_clipped_and_floored_at_chance() -> None:
    assert lift(0.75, None, ceiling=None) == 0.5
    assert lift(0.75, 0.1, ceiling=None) == 0.5
    assert lift(0.3, None, ceiling=None) == 0.0
    assert lift(0.99, None, ceiling=0.9) == 1.0
    assert lift(0.6, 0.7, ceiling=0.65) == 0.0


def test_the_bars_can_be_moved() -> None:
    figures = ALIVE.model_copy(update={"sealed": score(0.75)})
    assert decide(figures).verdict == "weak"
    assert decide(figures, Bars(named_lift=0.4)).verdict == "named"
