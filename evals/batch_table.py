"""What a feature costs in a batch, as a table of a report."""

from __future__ import annotations

from evals.scoreboard import Scoreboard
from evals.table import Column, Line, Table, number_entry, text_entry

CAPTION = (
    "Images charged a feature, its share of the survey included, and images spent so far for each feature "
    "with a name, the whole survey from the first on, against the features named before it"
)


def batch_costs(board: Scoreboard) -> Table:
    """A line for each feature of each batch, in the order they were named in."""
    columns = (
        Column("title", "Condition", "text"),
        Column("dictionary", "Dictionary", "text"),
        Column("named_before", "Named before", "number"),
        Column("charged", "Images", "number"),
        Column("running_mean", "A named one so far", "number"),
    )
    lines = tuple(
        Line(
            (
                text_entry(curve.title),
                text_entry(curve.dictionary),
                number_entry(point.named_before),
                number_entry(point.charged),
                number_entry(point.mean, 2),
            )
        )
        for curve in board.batches
        for point in curve.points
    )
    return Table("batch_costs", CAPTION, columns, lines)
