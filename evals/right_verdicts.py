"""Whether abstaining says why: the share of features of a kind that get exactly the verdict they should."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from agent.records import VerdictKind
from evals.cell import Cell
from evals.cell_result import result_of
from evals.figures import share_of
from evals.scoreboard import Figure, VerdictRow

RIGHT: dict[str, VerdictKind] = {
    "dead": "dead",
    "dense": "dense",
    "incoherent": "unexplained",
    "undrawable": "unrenderable",
}
"""By kind of truth, the one right verdict of features that should get no name."""


def verdict_rows(cells: Iterable[Cell]) -> tuple[VerdictRow, ...]:
    """A row for each condition that gives verdicts on features whose truth is known; no failure counts."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.truth is not None and cell.answer.verdict is not None and result_of(cell) != "failed":
            found.setdefault(cell.condition, []).append(cell)
    return tuple(_row(own) for own in found.values())


def is_right_verdict(cell: Cell) -> bool:
    """Whether a feature that should get no name got exactly the verdict of its kind."""
    kind = None if cell.truth is None else cell.truth.kind
    return kind in RIGHT and cell.answer.verdict == RIGHT[kind]


def _row(cells: Sequence[Cell]) -> VerdictRow:
    return VerdictRow(
        condition=cells[0].condition,
        title=cells[0].title,
        lost=_share(cells, lambda cell: cell.answer.name is None, among=_is_good),
        **{kind: _share(cells, is_right_verdict, among=_of(kind)) for kind in RIGHT},
    )


def _share(cells: Sequence[Cell], told: Callable[[Cell], bool], *, among: Callable[[Cell], bool]) -> Figure:
    return share_of(told(cell) for cell in cells if among(cell))


def _of(kind: str) -> Callable[[Cell], bool]:
    return lambda cell: cell.truth is not None and cell.truth.kind == kind


def _is_good(cell: Cell) -> bool:
    """Whether it has a concept that its generator can show."""
    return cell.truth is not None and cell.truth.concept != "" and cell.truth.kind not in RIGHT
