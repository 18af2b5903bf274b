"""Accuracy against images: how right each condition would be, were it stopped earlier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from evals.cell import Cell
from evals.cell_result import result_of
from evals.figures import share_of
from evals.scoreboard import CostCurve, CostPoint

GRID = (10, 20, 40, 60, 80, 100, 150, 200, 400, 951)
"""Images; 951 is what MILS may ask for at its own defaults."""

Right = Callable[[Cell, str], bool | None]
"""Whether a name is right for a cell's feature; None where it cannot be told."""


def cost_curves(cells: Iterable[Cell], *, right: Right) -> tuple[CostCurve, ...]:
    """A curve per condition, over the features with a true concept that it did not fail on.

    Its points are those of the grid below the most images it charged a feature, and that most: there it
    stands at its accuracy. A feature without a name by then counts as wrong.
    """
    by_condition: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.truth is not None and cell.truth.concept and result_of(cell) != "failed":
            by_condition.setdefault(cell.condition, []).append(cell)
    return tuple(_curve(known, right=right) for known in by_condition.values())


def name_in_force(cell: Cell, images: int) -> str | None:
    """The name a condition would give, were it stopped when it has charged ``images``."""
    if images >= cell.answer.images:
        return cell.answer.name
    done = [step for step in cell.answer.steps if step.charged <= images]
    return done[-1].best if done else None


def _curve(known: Sequence[Cell], *, right: Right) -> CostCurve:
    most = max(cell.answer.images for cell in known)
    points = [
        CostPoint(images=images, accuracy=share_of(_is_right(cell, images, right=right) for cell in known))
        for images in (*(each for each in GRID if each < most), most)
    ]
    return CostCurve(condition=known[0].condition, title=known[0].title, points=tuple(points))


def _is_right(cell: Cell, images: int, *, right: Right) -> bool:
    name = name_in_force(cell, images)
    if name is None or name == cell.answer.name:
        return name is not None and cell.grade.right is True
    return right(cell, name) is True
