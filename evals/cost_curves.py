"""Accuracy against images, were a condition stopped earlier; images a feature, the later a batch names it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from evals.cell import Cell
from evals.cell_result import result_of
from evals.contenders import OURS
from evals.figures import share_of
from evals.scoreboard import BatchCurve, BatchPoint, CostCurve, CostPoint

GRID = (10, 20, 40, 60, 80, 100, 150, 200, 400, 951)
"""Images; 951 is what MILS may ask for at its own defaults."""

SURVEY = "survey"
"""Text of the step that is a feature's share of a batch's survey."""

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


def batch_curves(cells: Sequence[Cell]) -> tuple[BatchCurve, ...]:
    """A curve per dictionary and condition that names it as a batch, over the cells it did not fail on.

    A point's mean is what was spent by then, the whole survey from the first feature on, for each feature
    that got a name; what features without one cost is told with them. Beside each curve what the agent asked
    for the same features, in the same order, with nothing known before.
    """
    batches: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.answer.named_before is not None and result_of(cell) != "failed":
            batches.setdefault((cell.condition, cell.feature.dictionary), []).append(cell)
    alone = {cell.feature: cell for cell in cells if cell.condition == OURS and result_of(cell) != "failed"}
    curves: dict[tuple[str, str], BatchCurve] = {}
    for (condition, dictionary), known in batches.items():
        order = sorted(known, key=lambda cell: cell.answer.named_before or 0)
        curves[condition, dictionary] = _batch_curve(order, order)
        if all(cell.feature in alone for cell in order):
            same = [alone[cell.feature] for cell in order]
            curves.setdefault((OURS, dictionary), _batch_curve(same, order))
    return tuple(curves.values())


def _batch_curve(cells: Sequence[Cell], order: Sequence[Cell]) -> BatchCurve:
    """``order``: the cells of the same features that say where in the batch they stand."""
    spent, given = sum(map(_survey_share, cells)), 0
    points = []
    for cell, place in zip(cells, order, strict=True):
        if cell.answer.name is not None:
            spent += cell.answer.images - _survey_share(cell)
            given += 1
        named = place.answer.named_before or 0
        points.append(BatchPoint(named_before=named, charged=cell.answer.images, mean=spent / max(1, given)))
    first = cells[0]
    return BatchCurve(
        condition=first.condition,
        title=first.title,
        dictionary=first.feature.dictionary,
        points=tuple(points),
    )


def _survey_share(cell: Cell) -> int:
    """Images of the survey that are charged to a feature."""
    return sum(step.charged for step in cell.answer.steps[:1] if step.text == SURVEY)


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
