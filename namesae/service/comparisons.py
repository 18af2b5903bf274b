"""Two conditions of an evaluation on the same features: the difference, and the table that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evals.cell import Cell
from evals.cell_result import is_weak, result_of
from evals.comparing import MEASURES, SHARES, UNPAIRED, compare
from evals.figure_text import NONE, finite, shortened
from evals.table import Column, Entry, Line, Table, number_entry, text_entry
from namesae.service.errors import NotFound
from namesae.service.evaluation_records import Comparison, Measure, PairedAnswer, PairedRow
from sae.feature import Feature
from tools.errors import UsageError

SHOWN = {
    "all": "all features",
    "differ": "where they differ",
    "a": "where A is better",
    "b": "where B is better",
}
"""What a comparison's table can be narrowed to."""


def compared(
    evaluation: str, cells: Sequence[Cell], pair: tuple[str, str], *, measure: Measure, seed: int
) -> Comparison:
    """The first condition of a pair less the second. NotFound for a condition without cells; UsageError where
    the two have no feature, or the measure no pairs, in common."""
    a, b = pair
    ours, theirs = _of(cells, a, evaluation), _of(cells, b, evaluation)
    _refuse_unpaired(a, b, measure)
    rows = tuple(_row(ours[feature], theirs[feature], measure) for feature in ours if feature in theirs)
    if not rows:
        raise UsageError(f"{a} and {b} have no feature in common; choose conditions of the same features.")
    moves = [row.difference for row in rows if row.difference is not None]
    return Comparison(
        id=evaluation,
        a=a,
        b=b,
        a_title=next(iter(ours.values())).title,
        b_title=next(iter(theirs.values())).title,
        measure=measure,
        difference=compare(list(ours.values()), list(theirs.values()), measure=measure, seed=seed),
        better=sum(move > 0 for move in moves),
        worse=sum(move < 0 for move in moves),
        equal=sum(move == 0 for move in moves),
        rows=rows,
    )


def comparison_table(told: Comparison, *, show: str = "all") -> Table:
    """A comparison as shown: a line a feature, what each said and measured. ``show``: one of SHOWN."""
    if show not in SHOWN:
        raise UsageError(f"There is no view {show!r}; there are {', '.join(SHOWN)}.")
    digits = 0 if told.measure in SHARES else 3
    columns = (
        Column("feature", "Feature", "text"),
        Column("kind", "Kind", "text"),
        Column("truth", "True concept", "text"),
        Column("a", f"A: {told.a_title}", "name"),
        Column("b", f"B: {told.b_title}", "name"),
        Column("a_value", f"A, {told.measure}", "number"),
        Column("b_value", f"B, {told.measure}", "number"),
        Column("difference", "A less B", "number"),
    )
    lines = tuple(_line(row, digits) for row in told.rows if _is_shown(row, show))
    return Table("comparison", f"{told.a_title} against {told.b_title}, feature by feature", columns, lines)


def shown_rows(told: Comparison, *, show: str = "all") -> tuple[PairedRow, ...]:
    """The rows of the same table, in its order."""
    return tuple(row for row in told.rows if _is_shown(row, show))


def _of(cells: Sequence[Cell], condition: str, evaluation: str) -> Mapping[Feature, Cell]:
    found = {cell.feature: cell for cell in cells if cell.condition == condition}
    if not found:
        there = ", ".join(dict.fromkeys(cell.condition for cell in cells))
        raise NotFound(f"Evaluation {evaluation} has no cell of {condition[:60]!r}; it has {there}.")
    return found


def _refuse_unpaired(a: str, b: str, measure: Measure) -> None:
    if a in UNPAIRED:
        raise UsageError(f"{a!r} names the features of another dictionary; choose it as the second.")
    if b in UNPAIRED and measure not in SHARES:
        raise UsageError(
            f"{b!r} names the features of another dictionary; only {' and '.join(SHARES)} can be compared."
        )


def _row(ours: Cell, theirs: Cell, measure: Measure) -> PairedRow:
    a, b = _answer(ours, measure), _answer(theirs, measure)
    paired = theirs.condition not in UNPAIRED and a.value is not None and b.value is not None
    truth = ours.truth
    return PairedRow(
        feature=ours.feature,
        kind="" if truth is None else truth.kind,
        truth="unknown" if truth is None else truth.concept,
        a=a,
        b=b,
        difference=a.value - b.value if paired and a.value is not None and b.value is not None else None,
    )


def _answer(cell: Cell, measure: Measure) -> PairedAnswer:
    result = result_of(cell)
    return PairedAnswer(
        condition=cell.condition,
        name=cell.answer.name,
        result=result,
        weak=is_weak(cell),
        value=None if result == "failed" else finite(MEASURES[measure](cell)),
        run=cell.answer.run,
    )


def _is_shown(row: PairedRow, show: str) -> bool:
    moved = row.difference or 0.0
    if show == "differ":
        return moved != 0 or row.a.result != row.b.result
    return show == "all" or (moved > 0 if show == "a" else moved < 0)


def _line(row: PairedRow, digits: int) -> Line:
    entries = (
        text_entry(str(row.feature)),
        text_entry(row.kind),
        text_entry(row.truth or "nothing coherent"),
        _name(row.a),
        _name(row.b),
        number_entry(row.a.value, digits),
        number_entry(row.b.value, digits),
        number_entry(row.difference, digits),
    )
    return Line(entries, group=row.kind)


def _name(answer: PairedAnswer) -> Entry:
    mark = f"{answer.result}, weak" if answer.weak else answer.result
    return Entry(NONE if answer.name is None else shortened(answer.name) or NONE, answer.name, mark=mark)
