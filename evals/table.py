"""A table of a report, and the same table as CSV and as JSON lines."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from evals.figure_text import MINUS, NONE, finite, interval, number, one_line, shortened
from evals.scoreboard import Figure

Kind = Literal["text", "number", "figure", "name"]
Value = float | int | str | bool | None
FORMULA = ("=", "+", "-", "@")
"""A text that begins so would be a formula to a spreadsheet."""
SCHEMA = 1


class Column(NamedTuple):
    """One column."""

    key: str
    """What CSV and JSON call it."""
    label: str
    kind: Kind = "figure"
    hint: str = ""
    minor: bool = False
    """Whether a page shows it only when asked."""
    bar: bool = False
    """Whether a page draws its interval on the scale from 0 to 1."""


class Entry(NamedTuple):
    """What stands in one column of one line."""

    text: str
    """As shown."""
    value: Value = None
    """In full."""
    interval: Figure | None = None
    mark: str = ""
    """Of a name: right, wrong, ..."""


class Line(NamedTuple):
    """One line of a table."""

    entries: tuple[Entry, ...]
    role: str = ""
    group: str = ""
    flags: tuple[str, ...] = ()


class Table(NamedTuple):
    """A table with what it is called."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


def figure_entry(figure: Figure) -> Entry:
    """A figure with its interval."""
    return Entry(number(figure.value), finite(figure.value), figure)


def number_entry(value: float | None, digits: int = 0) -> Entry:
    """A number without an interval."""
    return Entry(number(value, digits), finite(value))


def text_entry(text: str) -> Entry:
    """A text; it may come from anywhere."""
    return Entry(shortened(text) or NONE, text)


def interval_text(entry: Entry) -> str:
    """``[lo, hi]`` of a figure, else empty."""
    return "" if entry.interval is None else interval(entry.interval)


def csv_text(table: Table) -> str:
    """The table as shown: figures and the ends of their intervals in columns of their own.

    What has no figure is empty. A text that a spreadsheet would take for a formula gets an apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([name for column in table.columns for name in csv_header(column)])
    for line in table.lines:
        pairs = zip(table.columns, line.entries, strict=True)
        writer.writerow([text for column, entry in pairs for text in _csv_cells(column, entry)])
    return out.getvalue()


def csv_header(column: Column) -> tuple[str, ...]:
    """What CSV calls the fields of a column."""
    parts: dict[Kind, tuple[str, ...]] = {"figure": ("", "_low", "_high"), "name": ("", "_result")}
    return tuple(column.key + part for part in parts.get(column.kind, ("",)))


def _csv_cells(column: Column, entry: Entry) -> tuple[str, ...]:
    if column.kind == "figure":
        figure = entry.interval or Figure(value=None)
        shown = interval(figure) != ""
        ends = (_csv_number(number(figure.low)), _csv_number(number(figure.high))) if shown else ("", "")
        return (_csv_number(entry.text), *ends)
    if column.kind == "number":
        return (_csv_number(entry.text),)
    text = "'" + entry.text if entry.text.startswith(FORMULA) else entry.text
    text = "" if text == NONE else text
    return (text, entry.mark) if column.kind == "name" else (text,)


def _csv_number(text: str) -> str:
    return "" if text == NONE else text.replace(MINUS, "-")


def jsonl_text(table: Table) -> str:
    """The table with every figure in full and every text as it came, one object a line."""
    return "".join(json.dumps(_record(table, line), ensure_ascii=False) + "\n" for line in table.lines)


def _record(table: Table, line: Line) -> dict[str, Value]:
    record: dict[str, Value] = {"schema": SCHEMA, "type": table.name}
    for column, entry in zip(table.columns, line.entries, strict=True):
        record[column.key] = entry.value
        if column.kind == "figure":
            figure = entry.interval or Figure(value=None)
            record[f"{column.key}_low"] = finite(figure.low)
            record[f"{column.key}_high"] = finite(figure.high)
            record[f"{column.key}_n"] = figure.n
        elif column.kind == "name":
            record[f"{column.key}_result"] = entry.mark
    return record


def markdown_text(table: Table, *, keys: Collection[str] | None = None) -> str:
    """The table in Markdown, or the columns of it that are asked for; numbers to the right."""
    kept = [at for at, column in enumerate(table.columns) if keys is None or column.key in keys]
    columns = [table.columns[at] for at in kept]
    head = "| " + " | ".join(markdown_escaped(column.label) for column in columns) + " |"
    rule = "|" + "|".join("---" if column.kind in ("text", "name") else "---:" for column in columns) + "|"
    return "\n".join([head, rule, *(_markdown_line(line, kept) for line in table.lines)])


def _markdown_line(line: Line, kept: Sequence[int]) -> str:
    shown = []
    for at in kept:
        entry = line.entries[at]
        text = f"{entry.text} {interval_text(entry)}".rstrip()
        shown.append(text if entry.interval is not None else markdown_escaped(text))
    if line.role == "ours":
        shown[0] = f"**{shown[0]}**"
    return "| " + " | ".join(shown) + " |"


def markdown_escaped(text: str) -> str:
    """A text that may come from anywhere, as Markdown that shows it and does nothing else."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    plain = "".join("\\" + char if char in "\\`*_|#~$" else char for char in plain)
    # A bracket is harmless unless it can end the words of a link or an image.
    return re.sub(r"\](?=\s*[(\[:])", r"\\]", plain)
