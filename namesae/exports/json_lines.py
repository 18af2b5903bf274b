"""JSON lines: an object a feature, as ``--json`` prints records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from agent.records import Explanation
from namesae.exports.flat_row import FlatRow

SCHEMA = 1


def write_jsonl(rows: Iterable[FlatRow]) -> Iterator[str]:
    """A line a feature: ``schema``, ``type`` row, and the columns of the CSV."""
    return (_line("row", row.model_dump(mode="json")) for row in rows)


def write_explanations(told: Iterable[Explanation]) -> Iterator[str]:
    """A line a feature: ``schema``, ``type`` feature, and the whole explanation, its evidence included."""
    return (_line("feature", each.model_dump(mode="json")) for each in told)


def _line(kind: str, record: dict[str, object]) -> str:
    # Escaped throughout: some readers take U+2028 for the end of a line.
    return json.dumps({"schema": SCHEMA, "type": kind} | record, separators=(",", ":")) + "\n"
