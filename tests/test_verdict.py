"""The verdict depends on its figures alone, and says what they support."""

from __future__ import annotations

import math

import pytest

from agent.records import Sighting
from agent.verdict import UNREAD, Bars, Confidence, Figures, Signs, decide, lift, signs_of
from tools.protocols import CosyScore, Interval
from tools.witness import Presence


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


ALIVE = Figures(density=0.1, threshold=1.0, charged=60, asked=50)


def presence(low: float, high: float) -> Presence:
    return Presence(auroc=(low + high) / 2, ci=Interval(low=low, high=high), n=20)


def sighting(text: str, exemplars: Presence, drawn: Presence | None, *, refused: bool = False) -> Sighting:
    return Sighting(text=text, exemplars=exemplars, drawn=drawn, refused=refused)


SHOWN, HIDDEN, UNSURE = presence(0.8, 0.95), presence(0.4, 0.6), presence(0.5, 0.8)


SURE = ALIVE.model_copy(update={"check": 0.95, "reading": 0.95})
"""What else is measured speaks for the name."""


def said(**changes: object) -> str:
    return decide(SURE.model_copy(update=changes)).verdict


def test_features_that_say_nothing() -> None:
    assert said(density=0.0, threshold=0.0) == "dead"
    assert said(density=0.97, sealed=score(0.95)) == "dense"
    assert said(density=0.6) == "dense"
    assert said() == "unexplained"
    assert said(charged=0) == "failed"


def test_what_the_exemplars_show_and_the_drawn_images_do_not_cannot_be_rendered() -> None:
    hidden = sighting("night", SHOWN, HIDDEN)
    assert said(sightings=(hidden,)) == "unrenderable"
    assert said(sightings=(sighting("fish", SHOWN, SHOWN), hidden)) == "unrenderable"
    assert said(sightings=(hidden,), density=0.6) == "unrenderable"
    assert said(sightings=(hidden,), sealed=score(0.55)) == "unrenderable"
    assert said(sightings=(hidden,), sealed=score(0.7)) == "unrenderable"
    assert said(sightings=(hidden,), sealed=score(0.9)) == "named"


@pytest.mark.parametrize(
    ("exemplars", "drawn"),
    [(SHOWN, SHOWN), (SHOWN, UNSURE), (SHOWN, None), (UNSURE, HIDDEN), (HIDDEN, HIDDEN)],
)
def test_without_both_sightings_nothing_is_called_unrenderable(
    exemplars: Presence, drawn: Presence | None
) -> None:
    assert said(sightings=(sighting("night", exemplars, drawn),)) == "unexplained"


def test_a_word_that_the_generator_refuses_counts_where_the_exemplars_show_it_best() -> None:
    refused = sighting("zebra", SHOWN, None, refused=True)
    assert said(sightings=(refused, sighting("fish", UNSURE, SHOWN))) == "unrenderable"
    assert said(sightings=(refused, sighting("fish", presence(0.9, 0.99), SHOWN))) == "unexplained"
    assert said(sightings=(sighting("zebra", UNSURE, None, refused=True),)) == "unexplained"


def test_a_name_needs_a_sealed_score_well_above_the_floor() -> None:
    assert said(sealed=score(0.9)) == "named"
    assert said(sealed=score(0.7)) == "weak"
    assert said(sealed=score(0.55), reading=0.3) == "unexplained"
    assert said(sealed=score(0.7, low=0.49), reading=0.3) == "unexplained"
    assert said(sealed=score(0.9), floor=0.86, reading=0.3) == "unexplained"
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


def test_a_name_more_likely_wrong_than_right_is_not_shown() -> None:
    doubted = {"check": 0.5, "reading": 0.1}
    assert said(sealed=score(0.9), **doubted) == "unexplained"
    told = SURE.model_copy(update={"sealed": score(0.9), **doubted})
    assert decide(told, Bars(least_sure=0.0)).verdict == "named"
    assert decide(told).confidence == 0.0


def test_without_a_fit_confidence_is_the_lift_of_the_lower_end_and_0_without_a_name() -> None:
    high = ALIVE.model_copy(update={"sealed": score(0.9, low=0.8, ceiling=0.9)})
    decision = decide(high, confidence=None)
    assert decision.confidence == pytest.approx(0.75)
    weakest = decide(
        ALIVE.model_copy(
            update={"sealed": score(0.9), "joined": "or", "parts": (score(0.9), score(0.85, low=0.6))}
        ),
        confidence=None,
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


FLAT = Confidence(intercept=-1.0, lift=2.0, shortfall=-1.0, check=0.5, reading=0.5)


def test_confidence_is_logistic_in_its_signs() -> None:
    figures = ALIVE.model_copy(update={"sealed": score(0.9), "check": 1.0, "reading": 0.8})
    told = decide(figures, confidence=FLAT)
    lifted = 2.0 * 0.7 - 1.0 + 0.5 + 0.5 * 0.8
    assert told.confidence == pytest.approx(1 / (1 + math.exp(-lifted)), abs=1e-4)
    assert told.verdict == decide(figures, confidence=None).verdict == "named"
    assert decide(ALIVE, confidence=FLAT).confidence == 0.0


def test_what_is_not_known_says_nothing() -> None:
    signs = signs_of(ALIVE, score(0.9))
    assert signs.lift == pytest.approx(0.7)
    assert signs[1:] == Signs(lift=0.0, shortfall=0.0, check=0.5, reading=UNREAD)[1:]


def test_an_or_falls_short_by_its_weakest_part() -> None:
    figures = ALIVE.model_copy(update={"parts": (score(0.95), score(0.75)), "joined": "or"})
    signs = signs_of(figures, score(0.9))
    assert signs.shortfall == pytest.approx(0.7 - 0.4)
    assert signs_of(figures, score(0.7)).shortfall == 0.0
    told = decide(figures.model_copy(update={"sealed": score(0.9)}), confidence=None)
    assert told.confidence == pytest.approx(0.4)
