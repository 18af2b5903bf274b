from __future__ import annotations

import math
import subprocess
import sys

import pytest

from evals.answer import Answer
from evals.cell import Cell, Grade
from evals.cost_curves import cost_curves, name_in_force
from evals.figures import mean_of, median_of, share_of
from evals.results import Expected
from evals.scoreboard import Figure, Row, Scoreboard
from evals.subject import Truth
from evals.summary import Description, summarise
from sae.feature import Feature
from sae.intervals import wilson
from tests.evaluated_cells import cell, cost, failed, judged, named, steps


def _description(cells: list[Cell], *also: Expected) -> Description:
    expected = tuple(Expected(condition=each.condition, feature=each.feature) for each in cells)
    return Description(
        suite="quick",
        description="a try",
        version="1",
        seed=3,
        proposer="lexical",
        sealed=50,
        control=1000,
        expected=(*expected, *also),
        missing=("X was not run.",),
        notes=("A note.",),
    )


def _board(cells: list[Cell]) -> Scoreboard:
    return summarise(cells, _description(cells))


def _row(cells: list[Cell], *, condition: str = "agent", group: str = "all") -> Row:
    (row,) = (each for each in _board(cells).rows if (each.condition, each.group) == (condition, group))
    return row


NOTHING = Truth(concept="", kind="dead")


def _all_ways() -> list[Cell]:
    """Right, right but weak, wrong, no name, failed; of nothing: no name, weak, named."""
    return [
        named("agent", 0, right=True),
        named("agent", 1, right=True, verdict="weak"),
        named("agent", 2, right=False, verdict="named"),
        cell("agent", 3, answer=Answer(name=None, verdict="unexplained", images=100)),
        failed("agent", 4),
        cell("agent", 5, truth=NOTHING, answer=Answer(name=None, verdict="dead")),
        named("agent", 6, right=False, verdict="weak").model_copy(update={"truth": NOTHING}),
        named("agent", 7, right=False).model_copy(update={"truth": NOTHING}),
    ]


def test_every_feature_is_counted_once() -> None:
    row = _row(_all_ways())
    assert (row.features, row.named, row.abstained, row.failed) == (8, 3, 4, 1)


def test_accuracy_is_of_features_with_a_concept_and_precision_of_names_put_forward() -> None:
    row = _row(_all_ways())
    low, high = wilson(2, 4)
    assert row.accuracy == Figure(value=0.5, low=low, high=high, n=4)
    assert (row.exact.value, row.synonym.value) == (0.5, 0.5)
    assert row.named_share.value == pytest.approx(3 / 7) and row.named_share.n == 7
    assert row.abstention.value == pytest.approx(2 / 3) and row.abstention.n == 3
    assert row.precision.value == pytest.approx(1 / 3) and row.precision.n == 3


def test_a_name_whose_grade_is_not_known_is_in_no_share() -> None:
    row = _row([cell("agent", 0, truth=None, answer=Answer(name="x"), grade=Grade())])
    assert (row.accuracy, row.precision, row.abstention, row.collisions) == (Figure(value=None),) * 4
    assert row.named_share.value == 1


def test_means_are_over_the_features_that_have_the_figure() -> None:
    cells = [cell("agent", at, judged=judged(0.2 * at, shift=at)) for at in range(4)]
    cells += [cell("agent", 8), cell("agent", 9, judged=judged(0.4, correlation=math.nan))]
    row = _row(cells)
    assert (row.auprc.n, row.correlation.n) == (5, 4)
    assert row.auprc.value == pytest.approx((0 + 0.2 + 0.4 + 0.6 + 0.4) / 5)
    assert row.auprc.low is not None and row.auprc.high is not None
    assert 0 < row.auprc.low < 0.32 < row.auprc.high < 0.6
    mads = sorted(each.judged.cosy.mad or 0 for each in cells if each.judged and each.judged.cosy)
    assert row.mad.value == pytest.approx(mads[2]) and row.mad.n == 5
    assert row.similarity == Figure(value=None)


def test_costs_are_means_and_what_is_unknown_stays_unknown() -> None:
    cells = [
        named("agent", 0, right=True, images=100, cost=cost(3, 10, 0.5)),
        named("agent", 1, right=True, images=50, cost=cost(4, 20, None)),
        failed("agent", 2),
    ]
    cells = [each.model_copy(update={"asked": ("aa", f"b{at}")}) for at, each in enumerate(cells)]
    row = _row(cells)
    assert (row.charged, row.llm_calls, row.seconds, row.distinct) == (75, 3.5, 2, 4)
    assert (row.tokens, row.usd) == (20, None)


def test_rows_are_given_for_every_group_that_has_features() -> None:
    first = named("agent", 0, right=True).model_copy(update={"also": ("both",), "outside_seeds": True})
    second = named("agent", 1, right=False).model_copy(update={"truth": NOTHING})
    board = _board([second, first, cell("mils", 0)])
    assert [(each.condition, each.group) for each in board.rows] == [
        ("agent", "all"),
        ("agent", "drawn"),
        ("agent", "both"),
        ("agent", "kind: dead"),
        ("agent", "kind: object"),
        ("agent", "outside the seeds"),
        ("mils", "all"),
        ("mils", "drawn"),
        ("mils", "kind: object"),
    ]
    assert _row([second, first], group="both").accuracy.value == 1


def test_a_name_collides_where_another_concept_of_the_dictionary_has_it_too() -> None:
    def put(condition: str, index: int, name: str, *, concept: str, dictionary: str = "d") -> Cell:
        return cell(condition, index).model_copy(
            update={
                "feature": Feature(dictionary=dictionary, index=index),
                "truth": Truth(concept=concept, kind="object"),
                "answer": Answer(name=name),
                "group": f"group {index % 2}",
            }
        )

    cells = [
        put("agent", 0, "Red  fish", concept="fish"),
        put("agent", 1, "red fish", concept="red"),
        put("agent", 2, "star", concept="star"),
        put("agent", 3, "star", concept="star"),
        put("agent", 4, "star", concept="sun", dictionary="other"),
        put("mils", 2, "red fish", concept="star"),
    ]
    assert _row(cells).collisions.value == pytest.approx(2 / 5)
    # Whom a name collides with may lie in another group.
    assert _row(cells, group="group 1").collisions.value == pytest.approx(1 / 2)
    assert _row(cells, condition="mils").collisions.value == 0


def test_the_scoreboard_tells_what_is_missing_and_adds_up() -> None:
    cells = _all_ways()
    also = Expected(condition="mils", feature=Feature(dictionary="d", index=0))
    board = summarise(cells, _description(cells, also))
    assert board.missing == ("X was not run.", "mils: 1 of 1 features are not there yet.")
    assert (board.totals.cells, board.totals.expected, board.totals.features) == (8, 9, 8)
    assert board.totals.charged == 607
    assert (board.suite, board.control, board.notes) == ("quick", 1000, ("A note.",))
    assert Scoreboard.model_validate_json(board.model_dump_json()) == board
    assert summarise(cells, _description(cells, also)) == board


def test_an_evaluation_without_cells_is_an_empty_scoreboard() -> None:
    board = _board([])
    assert (board.rows, board.differences, board.totals.cells) == ((), (), 0)


def test_the_name_in_force_is_the_best_of_the_last_step_that_was_paid_for() -> None:
    tried = steps((40, None), (80, "a"), (120, "b"))
    one = named("agent", 0, right=True, images=130, steps=tried)
    in_force = [name_in_force(one, images) for images in (0, 40, 79, 80, 119, 129, 130, 951)]
    assert in_force == [None, None, None, "a", "a", "b", "concept 0", "concept 0"]


def test_cost_curves_end_at_the_accuracy() -> None:
    cells = [
        named("agent", 0, right=True, images=130, steps=steps((80, "no"), (100, "concept 0"))),
        named("agent", 1, right=False, images=50, steps=steps((20, "right 1"))),
        failed("agent", 2),
        named("clip", 0, right=True, images=0),
    ]
    agent, clip = cost_curves(cells, right=lambda cell, name: name.startswith("right") or None)
    assert [(each.images, each.accuracy.value) for each in agent.points] == [
        (10, 0),
        (20, 0.5),
        (40, 0.5),
        (60, 0),
        (80, 0),
        (100, 0.5),
        (130, 0.5),
    ]
    assert [(each.images, each.accuracy.value) for each in clip.points] == [(0, 1)]
    board = summarise(cells, _description(cells), right=lambda cell, name: False)
    assert [each.condition for each in board.costs] == ["agent", "clip"]
    assert _board(cells).costs == ()


def test_figures_hold_their_interval_and_say_nothing_of_nothing() -> None:
    assert share_of([]) == mean_of([None, math.nan], seed=0) == Figure(value=None)
    assert mean_of([0.25], seed=0) == Figure(value=0.25, n=1)
    values = [float(each) for each in range(31)]
    mean, median = mean_of(values, seed=1), median_of([*values, 1e9], seed=1)
    assert mean.low is not None and mean.high is not None and mean.low < 15 < mean.high
    assert median.value == 15.5 and median.high is not None and median.high < 31
    assert mean_of(values, seed=1) == mean and mean_of(values, seed=2) != mean


def test_the_statistics_import_no_models() -> None:
    code = (
        "import sys, evals.summary, evals.sanity; assert not {'torch', 'scipy', 'langgraph'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
