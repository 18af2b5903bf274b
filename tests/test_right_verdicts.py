"""Abstaining says why: each kind that should get no name has one right verdict."""

from __future__ import annotations

import pytest

from agent.records import VerdictKind
from evals.answer import Answer
from evals.cell import Cell
from evals.cell_result import rightly
from evals.report_tables import verdicts
from evals.right_verdicts import RIGHT, verdict_rows
from evals.scoreboard import Scoreboard
from evals.subject import Truth
from tests.evaluated_cells import cell, failed, named
from tests.test_report import EMPTY


def of(kind: str, at: int, verdict: VerdictKind, *, name: str | None = None) -> Cell:
    concept = "night" if kind in ("undrawable", "object") else ""
    answer = Answer(name=name, verdict=verdict)
    return cell("agent", at, truth=Truth(concept=concept, kind=kind), answer=answer)


CELLS = [
    of("dead", 0, "dead"),
    of("dead", 1, "unexplained"),
    of("dense", 2, "dense"),
    of("incoherent", 3, "unexplained"),
    of("incoherent", 4, "unrenderable"),
    of("incoherent", 5, "weak", name="a cat"),
    of("incoherent", 6, "unexplained"),
    of("undrawable", 7, "unrenderable"),
    of("undrawable", 8, "named", name="night"),
    of("object", 9, "unrenderable"),
    of("object", 10, "weak", name="night"),
    of("object", 11, "named", name="a cat"),
    named("agent", 12, right=True, verdict="named"),
    failed("agent", 13),
    cell("agent", 14, truth=None, answer=Answer(name=None, verdict="unexplained")),
]


def test_each_kind_counts_its_own_verdict_and_the_good_ones_without_a_name_are_lost() -> None:
    (row,) = verdict_rows(CELLS)
    shares = {kind: (getattr(row, kind).value, getattr(row, kind).n) for kind in (*RIGHT, "lost")}
    assert shares == {
        "dead": (0.5, 2),
        "dense": (1.0, 1),
        "incoherent": (0.5, 4),
        "undrawable": (0.5, 2),
        "lost": (0.25, 4),
    }
    assert row.undrawable.low is not None and row.undrawable.low < 0.5


def test_conditions_that_give_no_verdict_have_no_row() -> None:
    silent = cell("mils", 0, truth=Truth(concept="", kind="dead"), answer=Answer(name="x"))
    assert verdict_rows([silent]) == ()
    assert verdict_rows([]) == ()


@pytest.mark.parametrize(
    ("told", "right"),
    [
        (of("undrawable", 0, "unrenderable"), True),
        (of("undrawable", 0, "unexplained"), False),
        (of("object", 0, "unrenderable"), False),
        (of("incoherent", 0, "unrenderable"), True),
    ],
)
def test_abstaining_is_the_best_answer_where_there_is_nothing_or_nothing_to_show(
    told: Cell, right: bool
) -> None:
    assert rightly(told) is right


def test_the_table_leaves_out_who_was_asked_about_nothing_of_the_kind() -> None:
    board: Scoreboard = EMPTY.model_copy(update={"verdicts": verdict_rows(CELLS)})
    table = verdicts(board)
    assert [column.key for column in table.columns] == ["title", *RIGHT, "lost"]
    assert [entry.text for entry in table.lines[0].entries[1:]] == ["0.50", "1.00", "0.50", "0.50", "0.25"]
    assert verdicts(EMPTY).lines == ()
