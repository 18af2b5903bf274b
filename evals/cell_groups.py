"""The groups of features that figures are given for."""

from __future__ import annotations

from collections.abc import Iterable

from evals.cell import Cell

ALL = "all"


def groups_of(cell: Cell) -> tuple[str, ...]:
    """All groups of a cell's feature: 'all', the suite's own, its kind, how it lies to the seeds."""
    return (ALL, *cell.groups, *derived_groups(cell))


def derived_groups(cell: Cell) -> tuple[str, ...]:
    """The groups that follow from what is known of the feature."""
    kind = () if cell.truth is None else (f"kind: {cell.truth.kind}",)
    if cell.outside_seeds is None:
        return kind
    return (*kind, "outside the seeds" if cell.outside_seeds else "inside the seeds")


def group_names(cells: Iterable[Cell], *, derived: bool = False) -> tuple[str, ...]:
    """Groups of any cell, each once: 'all', the suite's, kinds, seeds. ``derived``: without the suite's."""
    rows = list(cells)
    own = [] if derived else [name for cell in rows for name in cell.groups]
    further = [name for cell in rows for name in derived_groups(cell)]
    further.sort(key=lambda name: not name.startswith("kind:"))
    return tuple(dict.fromkeys((ALL, *own, *further)))


def in_group(cells: Iterable[Cell], group: str) -> list[Cell]:
    """The cells whose feature belongs to a group."""
    return [cell for cell in cells if group in groups_of(cell)]
