"""The fit of the confidence: what it reads, that it finds what is there, and that names are left out."""

from __future__ import annotations

import numpy as np
import pytest

from agent.records import Evidence, Explanation
from agent.verdict import Signs, judged_on, signs_of
from benchmarks.fit_confidence import Row, brier, figures_told, fit, fitted, report, rows_of
from sae.feature import Feature
from tests.evaluated_cells import cell, failed, named
from tests.test_verdict import score
from tools.protocols import FeatureFacts, Reading

FACTS = FeatureFacts(
    density=0.1,
    threshold=1.0,
    p99=2.0,
    readings=(Reading(kind="one", words=("fish",), f1=0.8, cut=0.5),),
)


def explained(**evidence: object) -> Explanation:
    told = Evidence.model_validate({"facts": FACTS, "check": 0.9, **evidence})
    return Explanation(
        feature=Feature(dictionary="d", index=1),
        name="fish",
        verdict="named",
        confidence=0.5,
        sealed=score(0.9),
        evidence=told,
    )


def made(count: int, *, seed: int) -> list[Row]:
    """Names that are right the more often the higher their lift, whatever their reading."""
    chance = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        lift, check, reading = chance.random(3).tolist()
        right = chance.random() < 1 / (1 + np.exp(-(6 * lift - 3)))
        rows.append(Row(Signs(lift, 0.0, check, reading), bool(right)))
    return rows


def test_an_explanation_tells_what_the_verdict_depended_on() -> None:
    figures = figures_told(explained())
    assert figures is not None
    assert (figures.joined, figures.check, figures.reading) == ("one", 0.9, 0.8)
    known = figures_told(explained(told=0.3))
    assert known is not None and known.reading == 0.3
    assert signs_of(*judged_on(figures, score(0.9))).lift == pytest.approx(0.7)
    either = figures_told(explained(part_scores=(score(0.8), score(0.7))))
    assert either is not None and either.joined == "or"
    assert signs_of(*judged_on(either, score(0.9))).shortfall == pytest.approx(0.7 - 0.3)
    negated = figures_told(explained(contrast=score(0.99), floor_auroc=0.8))
    assert negated is not None and negated.joined == "not"
    # A NOT is held against what it excludes, and no floor.
    assert signs_of(*judged_on(negated, score(0.9))).lift == pytest.approx(0.88)
    assert figures_told(explained().model_copy(update={"sealed": None})) is None


def test_rows_are_the_names_whose_truth_and_explanation_are_known() -> None:
    cells = [
        named("agent", 0, right=True, run="r0"),
        named("agent", 1, right=False, run="r1", verdict="weak"),
        named("agent", 2, right=True, run="gone"),
        cell("agent", 3),
        failed("agent", 4),
    ]
    told = {"r0": explained(), "r1": explained(check=None)}
    rows = rows_of(cells, told.get)
    assert [row.right for row in rows] == [True, False]
    assert [row.signs.check for row in rows] == [0.9, 0.5]


def test_the_fit_finds_the_sign_that_tells_and_is_better_calibrated_than_chance() -> None:
    rows = made(160, seed=3)
    found = fit(rows, c=1.0)
    told = found.confidence
    assert told.lift > 3 * max(abs(told.check), abs(told.reading))
    assert told.shortfall == 0.0
    assert brier(found.left_out, rows) < 0.22
    assert found.left_out.shape == (160,)


def test_each_name_is_left_out_of_its_own_chance() -> None:
    rows = [*made(25, seed=1), Row(Signs(1.0, 0.0, 1.0, 1.0), right=False)]
    within = fitted(rows).of(rows[-1].signs)
    assert fit(rows).left_out[-1] > within


def test_where_all_are_right_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="nothing to fit"):
        fitted([row._replace(right=True) for row in made(7, seed=0)])


def test_the_report_can_be_pasted_into_the_verdict() -> None:
    said = report(made(40, seed=2), c=1.0, seed=0)
    assert said.startswith("40 names, ")
    for name in ("intercept", *Signs._fields):
        assert f"    {name}=" in said
    assert said.count("calibration error") == 2
