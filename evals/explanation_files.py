"""Reads names found elsewhere: CSV of CoSy, CLIP-Dissect or namesae, JSON and folders of delphi, JSON lines.

What a file is, its content says. Names are data: cut, on one printable line, refusals left out.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evals.told import LONGEST, NEEDED, Told, has_columns, told_of_entry, told_of_record
from tools.errors import UsageError

DELIMITERS = (",", "\t", ";")


def read_explanations(path: Path) -> tuple[Told, ...]:
    """All that a file or folder says, in its order; each feature of a layer once.

    UsageError in one sentence on a file that cannot be read, is empty, is of no known form, lacks a column,
    or has an index that is no whole number or comes twice.
    """
    told = tuple(_folder(path) if path.is_dir() else _file(path))
    if not told:
        raise UsageError(f"{path} holds no explanation; give one with at least one feature.")
    seen: set[tuple[str, int]] = set()
    for each in told:
        if (each.layer, each.feature) in seen:
            where = f" of {each.layer}" if each.layer else ""
            raise UsageError(f"{path} explains feature {each.feature}{where} twice; leave one of the two.")
        seen.add((each.layer, each.feature))
    return told


def of_dictionary(
    told: Sequence[Told], dictionary: str, *, layer: str | None = None, source: str
) -> dict[int, Told]:
    """What is told about the features of one dictionary, by index.

    Rows of namesae say their dictionary, and are taken for that one alone. UsageError where ``layer`` is not
    in the file, or has to be given because the file has several.
    """
    elsewhere = [each for each in told if not each.of_dictionary]
    ours = [each for each in told if each.of_dictionary and each.layer == dictionary]
    layers = tuple(dict.fromkeys(each.layer for each in elsewhere))
    if layer is not None and layer not in layers:
        raise UsageError(f"{source} holds no layer {layer!r}; it holds {_listed(layers)}.")
    if layer is None and len(layers) > 1:
        raise UsageError(f"{source} holds the layers {_listed(layers)}; give one of them as layer.")
    kept = [each for each in elsewhere if layer in (None, each.layer)]
    return {each.feature: each for each in (*kept, *ours)}


def _listed(layers: Sequence[str]) -> str:
    return (
        ", ".join(repr(each[:LONGEST]) for each in layers[:8]) + (" ..." if len(layers) > 8 else "") or "none"
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text; save it as UTF-8.") from error


def _file(path: Path) -> Iterable[Told]:
    text = _read(path)
    if not text.strip():
        raise UsageError(f"{path} is empty; give a file with at least one explanation.")
    return _json(path, text) if text.lstrip()[0] in "{[" else _table(path, text)


def _folder(path: Path) -> Iterator[Told]:
    """A file a latent, named after it, as delphi writes them: the explanation as text or JSON."""
    for file in sorted(path.iterdir()):
        if file.suffix not in (".txt", ".json") or not file.is_file():
            continue
        content: Any = _read(file)
        try:
            found = _loads(content)
        except ValueError:
            found = None
        yield told_of_entry(file.stem, found if isinstance(found, str | dict) else content, where=str(file))


def _table(path: Path, text: str) -> Iterator[Told]:
    """Rows by the first delimiter that separates an index from a name in the first row."""
    headers = {each: _header(path, text, delimiter=each) for each in DELIMITERS}
    delimiter = next((each for each in DELIMITERS if has_columns(headers[each])), None)
    if delimiter is None:
        columns = _listed(headers[DELIMITERS[0]])
        raise UsageError(f"{path} has the columns {columns}; it needs {NEEDED}.")
    header, *rows = _rows(path, text, delimiter=delimiter)
    for row in rows:
        where = f"{path}, line {row.line}"
        if len(row.cells) != len(header.cells):
            counts = f"{len(row.cells)} cells where its first row has {len(header.cells)}"
            raise UsageError(f"{where}, has {counts}; put names that hold the delimiter in quotes.")
        yield told_of_record(dict(zip(header.cells, row.cells, strict=True)), where=where)


class _Row(NamedTuple):
    line: int
    cells: list[str]


def _header(path: Path, text: str, *, delimiter: str) -> list[str]:
    """The first row; empty where the delimiter makes no row of it."""
    try:
        return next(_rows(path, text, delimiter=delimiter), _Row(0, [])).cells
    except UsageError:
        return []


def _rows(path: Path, text: str, *, delimiter: str) -> Iterator[_Row]:
    """The rows that are not blank, with the line each ends on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _Row(reader.line_num, cells)
    except csv.Error as error:
        raise UsageError(
            f"{path}, line {reader.line_num}, is not CSV ({error}); check its quotes."
        ) from error


def _json(path: Path, text: str) -> Iterator[Told]:
    """An object of explanations by feature, a list of records, one record, or a record a line."""
    try:
        content = _loads(text)
    except json.JSONDecodeError as error:
        if not _is_json(text.strip().split("\n", 1)[0]):
            raise UsageError(f"{path} is not JSON ({error}); check it.") from error
        content = [
            _line(path, number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()
        ]
    except ValueError as error:
        raise UsageError(f"{path} cannot be read as JSON ({error}); check it.") from error
    if isinstance(content, dict) and not _is_record(content):
        return (told_of_entry(key, value, where=str(path)) for key, value in content.items())
    records = enumerate([content] if isinstance(content, dict) else content, 1)
    return (
        told_of_record(each, where=f"{path}, record {at}") for at, each in records if not _is_message(each)
    )


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return _loads(line)
    except ValueError as error:
        raise UsageError(f"{path}, line {number}, is not JSON ({error}); check it.") from error


def _loads(text: str) -> Any:
    """JSON in which no object says anything twice; ValueError otherwise."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _is_json(text: str) -> bool:
    try:
        _loads(text)
    except ValueError:
        return False
    return True


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None) if len(set(keys)) < len(keys) else None
    if twice is not None:
        raise ValueError(f"key {twice[:LONGEST]!r} comes twice")
    return dict(pairs)


def _is_record(content: Mapping[str, Any]) -> bool:
    return has_columns(content) or _is_message(content)


def _is_message(content: Any) -> bool:
    """Whether it is a line of ``namesae name --json`` that is about no feature: 'launch' or 'done'."""
    return isinstance(content, dict) and content.get("type") in ("launch", "done")
