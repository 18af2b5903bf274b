"""A person's own list of features, as CSV or JSON lines, with what they are known to stand for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evals.csv_rows import read_csv, read_text, refuse_unknown
from sae.feature import Feature, Frozen
from tools.errors import UsageError

COLUMNS = ("feature", "dictionary", "index", "concept", "kind")
JSON_LINES = (".jsonl", ".ndjson")
_INDEX = re.compile(r"[0-9]{1,18}")


class Listed(Frozen):
    """One feature of a list."""

    feature: Feature
    concept: str | None = None
    """What it stands for: None where not said, '' (JSON lines only) where nothing coherent."""
    kind: str | None = None


class _Entry(NamedTuple):
    line: int
    values: Mapping[str, Any]


def read_features(path: Path) -> tuple[Listed, ...]:
    """The features of a ``.csv``, ``.jsonl`` or ``.ndjson`` file, in order.

    Columns or keys: ``feature`` ('sandbox#17'), or ``dictionary`` and ``index``; optional ``concept`` and
    ``kind``. An empty cell of a CSV says nothing. UsageError names the line and the value.
    """
    if path.suffix.lower() not in (".csv", *JSON_LINES):
        raise UsageError(f"Feature list {path} is neither .csv nor .jsonl; give one of them.")
    entries = _csv_entries(path) if path.suffix.lower() == ".csv" else _json_entries(path)
    lines: dict[Feature, int] = {}
    listed: list[Listed] = []
    for entry in entries:
        one = _listed(f"{path}, line {entry.line}", entry.values)
        if one.feature in lines:
            raise UsageError(
                f"{path}, line {entry.line}: feature {one.feature} is on line {lines[one.feature]} already; "
                "leave one out."
            )
        lines[one.feature] = entry.line
        listed.append(one)
    if not listed:
        raise UsageError(f"Feature list {path} holds no feature; write one a line, e.g. sandbox#17.")
    return tuple(listed)


def refuse_mixed(features: Iterable[Feature], *, where: str) -> None:
    """UsageError where features that belong together are of more than one dictionary."""
    first: Feature | None = None
    for feature in features:
        first = first or feature
        if feature.dictionary != first.dictionary:
            raise UsageError(
                f"{where} holds {first} and {feature}, of two dictionaries; make one list of each dictionary."
            )


def _csv_entries(path: Path) -> Iterator[_Entry]:
    for row in read_csv(path, COLUMNS):
        yield _Entry(row.line, {name: text for name, text in row.cells.items() if text})


def _json_entries(path: Path) -> Iterator[_Entry]:
    # Not splitlines(): a JSON string may hold line separators of Unicode.
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            read = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}, line {line}: {_short(text)} is not JSON; correct it.") from error
        if not isinstance(read, dict):
            raise UsageError(f"{path}, line {line}: {_short(text)} is not a JSON object; correct it.")
        for key in read:
            refuse_unknown(f"{path}, line {line}", key, known=COLUMNS, what="key")
        yield _Entry(line, {key: value for key, value in read.items() if value is not None})


def _listed(where: str, values: Mapping[str, Any]) -> Listed:
    for key in ("concept", "kind"):
        if not isinstance(values.get(key, ""), str):
            raise UsageError(f"{where}: {key} {values[key]!r} is not a text; write one.")
    return Listed(feature=_feature(where, values), concept=values.get("concept"), kind=values.get("kind"))


def _feature(where: str, values: Mapping[str, Any]) -> Feature:
    said = "feature" in values
    if said == ("dictionary" in values or "index" in values):
        which = "both a feature and a dictionary or index" if said else "no feature"
        raise UsageError(f"{where}: {which}; write either feature, or dictionary and index.")
    if said:
        return _parsed(where, values["feature"])
    dictionary, index = values.get("dictionary"), values.get("index")
    if not (isinstance(dictionary, str) and dictionary):
        raise UsageError(f"{where}: dictionary {dictionary!r} is not a name; write one, e.g. sandbox.")
    if not isinstance(index, str | int) or not _INDEX.fullmatch(str(index)):
        said_index = repr(index) if index is None else _short(str(index))
        raise UsageError(f"{where}: index {said_index} is not a whole number from 0; write one, e.g. 17.")
    return Feature(dictionary=dictionary, index=int(index))


def _parsed(where: str, text: object) -> Feature:
    try:
        return Feature.parse(text if isinstance(text, str) else repr(text))
    except ValueError as error:
        raise UsageError(
            f"{where}: {_short(str(text))} is not a feature; write DICTIONARY#INDEX, e.g. sandbox#17."
        ) from error


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
