from __future__ import annotations

import math

import pytest
from scipy.stats import fisher_exact, wilcoxon

from evals.cell import Cell
from evals.comparing import (
    compare,
    corrected,
    differences,
    fisher_p,
    mcnemar_p,
    share_difference,
    wilcoxon_p,
)
from evals.scoreboard import Difference, Figure
from evals.subject import Truth
from tests.evaluated_cells import cell, failed, judged, named


def _difference(p: float | None) -> Difference:
    return Difference(
        ours="a", theirs="b", measure="accuracy", group="all", estimate=Figure(value=0), p=p, p_corrected=None
    )


def test_accuracy_is_compared_feature_by_feature_with_mcnemars_exact_p() -> None:
    # Of 10 shared features: ours alone right on 6, theirs alone on 1, both on 3.
    ours = [named("a", at, right=at != 6) for at in range(10)] + [named("a", 50, right=True)]
    theirs = [named("b", at, right=at >= 6) for at in reversed(range(10))] + [named("b", 60, right=True)]
    found = compare(ours, theirs, measure="accuracy", seed=3)
    assert (found.ours, found.theirs, found.estimate.n) == ("a", "b", 10)
    assert found.estimate.value == pytest.approx(0.5)
    assert found.estimate.low is not None and found.estimate.high is not None
    assert found.estimate.low < 0.5 < found.estimate.high
    assert found.p == pytest.approx(2 * (1 + 7) / 2**7)


def test_no_name_is_wrong_and_failures_and_features_without_concept_are_left_out() -> None:
    nothing = Truth(concept="", kind="dead")
    ours = [named("a", 0, right=True), named("a", 1, right=True), cell("a", 2), cell("a", 3, truth=nothing)]
    theirs = [cell("b", 0), failed("b", 1), cell("b", 2), cell("b", 3, truth=nothing)]
    found = compare(ours, theirs, measure="accuracy", seed=0)
    assert (found.estimate.value, found.estimate.n) == (0.5, 2)
    names = compare(ours, theirs, measure="named", seed=0)
    assert (names.estimate.n, names.p) == (3, 1.0)


def test_means_are_compared_over_the_features_both_have_them_for() -> None:
    ours = [cell("a", at, judged=judged(0.5 + at / 100)) for at in range(9)]
    theirs = [cell("b", at, judged=judged(0.5 - at / 300)) for at in range(3, 12)]
    found = compare(ours, theirs, measure="auprc", seed=1)
    moved = [at / 100 + at / 300 for at in range(3, 9)]
    assert found.estimate.n == 6 and found.estimate.value == pytest.approx(sum(moved) / 6)
    assert found.p == pytest.approx(wilcoxon(moved).pvalue)


def test_a_measure_that_is_not_defined_leaves_the_feature_out() -> None:
    ours = [cell("a", at, judged=judged(0.5, correlation=math.nan if at else 0.5)) for at in range(3)]
    theirs = [cell("b", at, judged=judged(0.5)) for at in range(3)]
    found = compare(ours, theirs, measure="correlation", seed=1)
    assert (found.estimate.n, found.estimate.low, found.p) == (1, None, 1.0)


def test_nothing_in_common_is_no_difference() -> None:
    found = compare([cell("a", 1)], [cell("b", 2)], measure="named", seed=0)
    assert (found.estimate, found.p) == (Figure(value=None), None)
    with pytest.raises(KeyError):
        compare([cell("a", 1)], [cell("b", 1)], measure="beauty", seed=0)


def test_holm_raises_p_by_what_is_left_and_keeps_the_order() -> None:
    family = corrected([_difference(p) for p in (0.03, 0.01, None, 0.02, 0.9)])
    assert [each.p_corrected for each in family] == [
        pytest.approx(0.06),
        pytest.approx(0.04),
        None,
        pytest.approx(0.06),
        pytest.approx(0.9),
    ]
    assert corrected([]) == []


def test_features_that_do_not_differ_prove_nothing() -> None:
    assert mcnemar_p([False] * 7, [False] * 7) == 1 and wilcoxon_p([0.0] * 7) == 1
    assert wilcoxon_p([0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == pytest.approx(2 / 2**6)


def test_shares_of_different_features_have_newcombes_interval() -> None:
    found = share_difference(56, 70, 48, 80)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert found.value == pytest.approx(0.2) and found.n == 150
    assert share_difference(0, 0, 1, 2) == Figure(value=None)


def test_ours_is_compared_with_every_other_by_group_and_measure() -> None:
    def row(condition: str, right: int) -> list[Cell]:
        return [
            named(condition, at, right=at < right).model_copy(
                update={
                    "outside_seeds": at % 2 == 0,
                    "truth": Truth(concept=f"concept {at}", kind="or" if at < 4 else "object"),
                }
            )
            for at in range(11)
        ]

    cells = [*row("mils", 2), *row("agent", 10), *row("clip", 9)]
    found = differences(cells, ours="agent", seed=5)
    assert {each.group for each in found} == {
        "all",
        "kind: or",
        "kind: object",
        "outside the seeds",
        "inside the seeds",
    }
    assert {(each.ours, each.theirs) for each in found} == {("agent", "mils"), ("agent", "clip")}
    # No name was judged, so only what needs no images is there.
    assert {each.measure for each in found} == {"accuracy", "named"}
    first, second = (each for each in found if (each.group, each.measure) == ("all", "accuracy"))
    assert first.p == pytest.approx(2 / 2**8) and first.p_corrected == pytest.approx(4 / 2**8)
    assert second.p == second.p_corrected == 1
    assert differences(cells, ours="agent", seed=5) == found
    assert differences(cells, ours="nobody", seed=5) == ()


def test_an_untrained_dictionary_has_other_features_so_its_shares_are_compared_unpaired() -> None:
    ours = [named("agent", at, right=True) for at in range(8)] + [cell("agent", at) for at in range(8, 20)]
    theirs = [cell("untrained", at) for at in range(19)] + [named("untrained", 19, right=False)]
    told = compare(ours, theirs, measure="named")
    assert told.estimate == share_difference(8, 20, 1, 20)
    assert told.p == pytest.approx(fisher_exact([[8, 12], [1, 19]]).pvalue)
    assert told.p == fisher_p(8, 20, 1, 20)
    paired = compare(
        ours, [each.model_copy(update={"condition": "mils"}) for each in theirs], measure="named"
    )
    assert paired.estimate.value == pytest.approx(told.estimate.value)
    assert (paired.estimate.low, paired.estimate.high) != (told.estimate.low, told.estimate.high)
    names = [each for each in differences([*ours, *theirs], seed=0) if each.theirs == "untrained"]
    assert {each.measure for each in names} == {"accuracy", "named"}, "means are not compared"
