"""The table of every feature: what it truly stands for and what each condition called it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evals.cell import Cell
from evals.cell_result import is_weak, result_of, rightly
from evals.contenders import Contender
from evals.figure_text import NONE, shortened
from evals.table import Column, Entry, Line, Table, text_entry
from sae.feature import Feature

FIXED = (
    Column("feature", "Feature", "text"),
    Column("group", "Group", "text"),
    Column("kind", "Kind", "text"),
    Column("truth", "True concept", "text"),
)
DISAGREEMENTS = {
    "differ": "conditions disagree",
    "win": "ours right, a rival wrong",
    "loss": "ours wrong, a rival right",
    "none": "nobody right",
    "fail": "a condition failed",
}
"""What the table can be filtered by, controls left aside."""
Answers = Mapping[str, Cell]
"""The cells of one feature by condition."""


def by_feature(cells: Sequence[Cell]) -> dict[Feature, dict[str, Cell]]:
    """The cells of every feature by condition, features in the order they come."""
    found: dict[Feature, dict[str, Cell]] = {}
    for cell in cells:
        found.setdefault(cell.feature, {})[cell.condition] = cell
    return found


def features_table(features: Mapping[Feature, Answers], shown: Sequence[Contender]) -> Table:
    """One line a feature, one column a condition."""
    columns = (*FIXED, *(Column(each.condition, each.title, "name") for each in shown))
    lines = tuple(_line(feature, answers, shown) for feature, answers in features.items())
    return Table("features", "Every feature, its true concept and its names", columns, lines)


def _line(feature: Feature, answers: Answers, shown: Sequence[Contender]) -> Line:
    cell = next(iter(answers.values()))
    kind = cell.truth.kind if cell.truth else ""
    concept = "unknown" if cell.truth is None else cell.truth.concept or "nothing coherent"
    fixed = (
        text_entry(str(feature)),
        text_entry(", ".join(cell.groups)),
        text_entry(kind),
        text_entry(concept),
    )
    names = tuple(_name(answers.get(each.condition)) for each in shown)
    return Line((*fixed, *names), group=kind, flags=_flags(answers, shown))


def _name(cell: Cell | None) -> Entry:
    result = result_of(cell)
    if cell is None:
        return Entry(NONE, None, mark=result)
    name = cell.answer.name
    if name is None:
        return Entry(NONE, None, mark=result)
    return Entry(shortened(name) or NONE, name, mark=f"{result}, weak" if is_weak(cell) else result)


def _flags(answers: Answers, shown: Sequence[Contender]) -> tuple[str, ...]:
    ours = [answers.get(each.condition) for each in shown if each.role == "ours"]
    theirs = [answers.get(each.condition) for each in shown if each.role == "rival"]
    there = [cell for cell in (*ours, *theirs) if cell is not None]
    right = [rightly(cell) for cell in there]
    first = [rightly(cell) for cell in ours if cell is not None]
    rest = [rightly(cell) for cell in theirs if cell is not None]
    told = {
        "differ": len(set(right)) > 1,
        "win": any(first) and not all(rest),
        "loss": bool(first) and not any(first) and any(rest),
        "none": bool(right) and not any(right),
        "fail": any(result_of(cell) == "failed" for cell in there),
    }
    return tuple(flag for flag, holds in told.items() if holds)
