"""Rows of CSV as RFC 4180 has them, in which no text is a formula to a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator

Cell = str | int | float | bool | None

_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff0b\uff0d\uff1d\uff20]")
"""What a spreadsheet may take for a formula, its full-width forms too; and what was marked before."""


def defused(text: str) -> str:
    """A text that a spreadsheet shows: an apostrophe before one that it would work out."""
    return f"'{text}" if _FORMULA.match(text) else text


def fused(cell: str) -> str:
    """The text that ``defused`` made a cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def csv_lines(rows: Iterable[Iterable[Cell]]) -> Iterator[str]:
    """Rows as lines that end in CRLF; None is an empty cell, a text is defused, a number exact."""
    for row in rows:
        buffer = io.StringIO(newline="")
        csv.writer(buffer).writerow([_cell(cell) for cell in row])
        yield buffer.getvalue()


def _cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return defused(cell) if isinstance(cell, str) else repr(cell)
