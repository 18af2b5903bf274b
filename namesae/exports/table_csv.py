"""CSV: a line a feature, its figures in columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from namesae.exports.csv_cells import csv_lines
from namesae.exports.flat_row import FlatRow

COLUMNS = tuple(FlatRow.model_fields)


def write_csv(rows: Iterable[FlatRow]) -> Iterator[str]:
    """The header and the lines. A text that could be a formula begins with an apostrophe."""
    yield from csv_lines(chain([COLUMNS], ([getattr(row, name) for name in COLUMNS] for row in rows)))
