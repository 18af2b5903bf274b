"""Which segments of a bank are live, and which of them are due to be merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import TypeAdapter

from sae.feature import Frozen

FAN = 8
"""Segments of about one size that are merged into one: the bank rewrites a row once a level."""
LEVEL_ROWS = 4096
"""Rows from which a segment is above the lowest level; each level has ``FAN`` times as many."""
LARGEST_ROWS = 2**25
"""No merge makes a larger segment: about 10 GB at 32 features an image."""


class SegmentEntry(Frozen):
    """One live segment. Its rows and prompts are numbered on from those of the segments before it."""

    name: str
    """sha256 of its ``segment.json``, which holds those of its columns."""
    rows: int
    prompts: int
    """Prompts that no earlier segment has."""
    entries: int
    """Pairs of an image and a feature that is not 0 on it."""
    bytes: int


class Manifest(NamedTuple):
    """The live segments, oldest first."""

    generation: str
    """Changes whenever the segments do; empty where nothing was ever banked."""
    origin: str
    """Stays while rows are only added: rows and prompts keep their numbers."""
    entries: tuple[SegmentEntry, ...]

    @property
    def rows(self) -> int:
        """In all segments."""
        return sum(entry.rows for entry in self.entries)

    @property
    def prompts(self) -> int:
        """In all segments."""
        return sum(entry.prompts for entry in self.entries)


_ENTRIES = TypeAdapter(tuple[SegmentEntry, ...])


def entries_as_json(entries: Sequence[SegmentEntry]) -> bytes:
    """What the manifest's key holds."""
    return _ENTRIES.dump_json(tuple(entries))


def entries_from_json(data: bytes) -> tuple[SegmentEntry, ...]:
    """The entries that ``entries_as_json`` was given."""
    return _ENTRIES.validate_json(data)


def due(entries: Sequence[SegmentEntry], *, most_rows: int) -> slice | None:
    """The newest segments up to a level that ``FAN`` of them have, where they make at most ``most_rows``.

    Only neighbours merge, so rows and prompts keep their numbers. None where nothing is due.
    """
    levels = [_level(entry.rows) for entry in entries]
    for level in range(max(levels, default=-1) + 1):
        start, rows = len(entries), 0
        while start and levels[start - 1] <= level and rows + entries[start - 1].rows <= most_rows:
            start -= 1
            rows += entries[start].rows
        if levels[start:].count(level) >= FAN:
            return slice(start, len(entries))
    return None


def all_due(entries: Sequence[SegmentEntry], *, most_rows: int) -> slice | None:
    """The first two or more neighbours that together make at most ``most_rows``; None where none do."""
    for start in range(len(entries) - 1):
        end, rows = start, 0
        while end < len(entries) and rows + entries[end].rows <= most_rows:
            rows, end = rows + entries[end].rows, end + 1
        if end - start > 1:
            return slice(start, end)
    return None


def _level(rows: int) -> int:
    level, size = 0, LEVEL_ROWS * FAN
    while rows >= size:
        level, size = level + 1, size * FAN
    return level
