"""A CSV file as rows of text by column, every fault told with its line."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tools.errors import UsageError


class CsvRow(NamedTuple):
    """One row below the header."""

    line: int
    """On which the row ends, from 1."""
    cells: dict[str, str]
    """Text by column, without surrounding white space; '' where nothing is written."""


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, a byte order mark left out. UsageError where it is no such file."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}); check it.") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UsageError(
            f"{path}, line {line}: byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8."
        ) from error


def read_csv(path: Path, columns: Collection[str]) -> tuple[CsvRow, ...]:
    """The rows of a comma-separated file whose header names some of ``columns``, blank lines left out.

    UsageError names the line and the value: a file that is not UTF-8 or not CSV, no header, a column twice
    or unknown, a row of another length.
    """
    # newline="": line ends inside quotes belong to the value.
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header, columns=columns)
        return tuple(_rows(path, reader, header=header))
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: not CSV ({error}); correct it.") from error


def refuse_unknown(where: str, name: str, *, known: Collection[str], what: str) -> None:
    """UsageError with the nearest known name where ``name`` is none of them."""
    if name in known:
        return
    near = difflib.get_close_matches(name, sorted(known), n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}."
    raise UsageError(f"{where}: unknown {what} {name!r}; {remedy}")


def _check_header(path: Path, header: Sequence[str], *, columns: Collection[str]) -> None:
    if not any(header):
        raise UsageError(f"{path}, line 1: no header; write the columns there, of {', '.join(columns)}.")
    for at, name in enumerate(header):
        refuse_unknown(f"{path}, line 1", name, known=columns, what="column")
        if name in header[:at]:
            raise UsageError(f"{path}, line 1: column {name!r} is there twice; leave one out.")


def _rows(path: Path, reader: Iterator[list[str]], *, header: Sequence[str]) -> Iterator[CsvRow]:
    for values in reader:
        line: int = reader.line_num  # type: ignore[attr-defined]
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(header):
            raise UsageError(
                f"{path}, line {line}: {len(values)} values where the header has {len(header)} columns, "
                f"from {values[0]!r}; quote values that hold commas."
            )
        yield CsvRow(line, {name: value.strip() for name, value in zip(header, values, strict=True)})
