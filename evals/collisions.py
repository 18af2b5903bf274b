"""Names that say nothing: given to two features that stand for different things."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from agent.collisions import plain_name, shared_names
from evals.cell import Cell
from sae.feature import Feature

Place = tuple[str, Feature]
"""A condition and a feature: where a cell stands."""


def place_of(cell: Cell) -> Place:
    """Where a cell stands."""
    return cell.condition, cell.feature


def can_collide(cell: Cell) -> bool:
    """Whether a name is put forward and the true concept known."""
    return cell.answer.claims and cell.truth is not None


def colliding_places(cells: Iterable[Cell]) -> frozenset[Place]:
    """Where a name stands that its condition gives another feature of the same dictionary as well, one with
    another true concept. Names are the same but for case and white space.
    """
    named: defaultdict[tuple[str, str], list[tuple[tuple[Place, str], str]]] = defaultdict(list)
    for cell in cells:
        name = cell.answer.name
        if name is not None and cell.truth is not None and can_collide(cell):
            holder = place_of(cell), plain_name(cell.truth.concept)
            named[cell.condition, cell.feature.dictionary].append((holder, name))
    shared = (holders for each in named.values() for holders in shared_names(each).values())
    return frozenset(
        place for holders in shared if len({concept for _, concept in holders}) > 1 for place, _ in holders
    )
