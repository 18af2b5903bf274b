"""Published figures, quoted from a table: shown beside ours, never compared with them."""

from __future__ import annotations

import math
from pathlib import Path

from evals.csv_rows import CsvRow, read_csv
from evals.scoreboard import QuotedRow
from tools.errors import UsageError

COLUMNS = ("label", "source", "measure", "value", "note")


def read_quoted(path: Path) -> tuple[QuotedRow, ...]:
    """The rows of a CSV with columns label, source, measure, value and, optionally, note.

    UsageError names the line and the value of what is missing or no finite number.
    """
    rows = tuple(_quoted(f"{path}, line {row.line}", row) for row in read_csv(path, COLUMNS))
    if not rows:
        raise UsageError(f"Table {path} holds no figure; write one a line below {','.join(COLUMNS)}.")
    return rows


def _quoted(where: str, row: CsvRow) -> QuotedRow:
    for column in COLUMNS[:-1]:
        if not row.cells.get(column):
            raise UsageError(f"{where}: no {column}; every quoted figure has one.")
    return QuotedRow(
        label=row.cells["label"],
        source=row.cells["source"],
        measure=row.cells["measure"],
        value=_number(where, row.cells["value"]),
        note=row.cells.get("note", ""),
    )


def _number(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{where}: value {text!r} is not a finite number; write one, e.g. 0.95.")
    return value
