"""CSV of explanations as CoSy reads them: ``neuron,concept`` (arXiv 2405.20331)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from namesae.exports.csv_cells import csv_lines
from namesae.exports.flat_row import FlatRow

COLUMNS = ("neuron", "concept")


def write_cosy(rows: Iterable[FlatRow]) -> Iterator[str]:
    """The header and a line for each feature that has a name."""
    named = ((row.index, row.name) for row in rows if row.name)
    yield from csv_lines(chain([COLUMNS], named))
