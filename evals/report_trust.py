"""The tables that say whether a confident name can be trusted."""

from __future__ import annotations

from evals.scoreboard import Scoreboard
from evals.table import Column, Line, Table, figure_entry, number_entry, text_entry


def coverage(board: Scoreboard) -> Table:
    """Areas under the curves of precision over coverage."""
    columns = (
        Column("title", "Condition", "text"),
        Column("by", "Ordered by", "text"),
        Column("area", "Mean precision", "number", "Over all coverages"),
        Column("points", "Names", "number"),
    )
    lines = tuple(
        Line(
            (
                text_entry(each.title),
                text_entry(each.by),
                number_entry(each.area, 2),
                number_entry(len(each.points)),
            )
        )
        for each in board.coverage
    )
    return Table("coverage", "Precision over coverage", columns, lines)


def calibration(board: Scoreboard) -> Table:
    """Stated confidence beside what came of it, in bins of equal mass."""
    titles = {row.condition: row.title for row in board.rows}
    columns = (
        Column("title", "Condition", "text"),
        Column("bin", "Confidence", "text"),
        Column("confidence", "Mean stated", "number"),
        Column("accuracy", "Accuracy"),
        Column("n", "Names", "number"),
    )
    lines = tuple(
        Line(
            (
                text_entry(titles.get(each.condition, each.condition)),
                text_entry(f"{each.low:.2f} to {each.high:.2f}"),
                number_entry(each.confidence, 2),
                figure_entry(each.accuracy),
                number_entry(each.accuracy.n),
            )
        )
        for each in board.calibration
    )
    return Table(
        "calibration", "Stated confidence and accuracy, about a fifth of the names in a line", columns, lines
    )


def calibration_errors(board: Scoreboard) -> Table:
    """Expected calibration errors."""
    titles = {row.condition: row.title for row in board.rows}
    columns = (
        Column("title", "Condition", "text"),
        Column("names", "Of names", hint="Mean |confidence - accuracy| over five bins of equal mass"),
        Column("everything", "Of all features", hint="The same; no name counts as confidence in none"),
    )
    lines = tuple(
        Line(
            (
                text_entry(titles.get(each.condition, each.condition)),
                figure_entry(each.names),
                figure_entry(each.everything),
            )
        )
        for each in board.calibration_errors
    )
    return Table("calibration_errors", "Expected calibration error", columns, lines)
