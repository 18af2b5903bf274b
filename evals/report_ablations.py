"""The table of what each part of the agent adds: the whole agent beside the agent without it."""

from __future__ import annotations

from evals.contenders import EVERYTHING, is_ablated
from evals.figure_text import finite, p_text
from evals.scoreboard import Figure, Row, Scoreboard
from evals.table import Column, Entry, Line, Table, figure_entry, number_entry, text_entry

_COLUMNS = (
    Column("title", "Condition", "text"),
    Column("accuracy", "Accuracy", "figure", "Without the part"),
    Column("added", "The part adds", "figure", "Accuracy of the whole agent less this, paired by feature"),
    Column("n", "n", "number", "Features both answered"),
    Column("p", "p", "number", "Two-sided, exact McNemar"),
    Column("p_corrected", "p, Holm", "number", "Over all comparisons of accuracy"),
    Column("precision", "Precision", "figure", "Without the part"),
    Column("auroc", "AUROC", "figure", "Without the part"),
    Column("charged", "Images", "number", "Mean images charged to the search, a feature"),
)


def ablations(board: Scoreboard) -> Table:
    """Each agent without a part against the whole one, what costs most first; without lines if none ran."""
    rows = {row.condition: row for row in board.rows if row.group == EVERYTHING}
    found = [
        (each.estimate, each, rows[each.theirs])
        for each in board.differences
        if each.measure == "accuracy" and each.group == EVERYTHING and is_ablated(each.theirs)
    ]
    found.sort(key=lambda each: -(finite(each[0].value) or 0.0))
    lines = [_line(row, added, p=each.p, corrected=each.p_corrected) for added, each, row in found]
    ours = next((rows[each.ours] for _, each, _ in found if each.ours in rows), None)
    whole = [] if ours is None else [_line(ours, Figure(value=None), p=None, corrected=None, role="ours")]
    return Table("ablations", "What each part of the agent adds", _COLUMNS, (*whole, *lines))


def _line(row: Row, added: Figure, *, p: float | None, corrected: float | None, role: str = "") -> Line:
    return Line(
        (
            text_entry(row.title),
            figure_entry(row.accuracy),
            figure_entry(added),
            number_entry(added.n or row.accuracy.n),
            Entry(p_text(p), finite(p)),
            Entry(p_text(corrected), finite(corrected)),
            figure_entry(row.precision),
            figure_entry(row.auroc),
            number_entry(row.charged, 1),
        ),
        role,
    )
