"""Whether a condition knows when it is right: coverage against precision.

Only features whose truth is known count, and no failed cells. A name for a feature without a true concept is
wrong; weak names are names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from evals.cell import Cell
from evals.cell_result import result_of
from evals.scoreboard import CoverageCurve, CoveragePoint


class Told(NamedTuple):
    """How sure a condition is of what it says of a feature, and whether that is right."""

    sure: float
    right: bool


def coverage_curves(cells: Iterable[Cell]) -> tuple[CoverageCurve, ...]:
    """A curve for each condition that states a confidence in all its names, or else scores them all."""
    curves = (_curve(known) for known in known_by_condition(cells))
    return tuple(curve for curve in curves if curve is not None)


def known_by_condition(cells: Iterable[Cell]) -> list[list[Cell]]:
    """The cells that count, those of each condition together."""
    known: dict[str, list[Cell]] = {}
    for cell in cells:
        if (cell.truth is not None or cell.grade.right is not None) and result_of(cell) != "failed":
            known.setdefault(cell.condition, []).append(cell)
    return list(known.values())


def is_right(cell: Cell) -> bool:
    """Whether a name is right; one for a feature without a true concept is not."""
    return cell.grade.right is True and (cell.truth is None or cell.truth.concept != "")


def _curve(known: Sequence[Cell]) -> CoverageCurve | None:
    names = [cell for cell in known if cell.answer.name is not None]
    stated = [
        Told(cell.answer.confidence, is_right(cell)) for cell in names if cell.answer.confidence is not None
    ]
    scored = [Told(cell.answer.score, is_right(cell)) for cell in names if cell.answer.score is not None]
    told, by = (stated, "confidence") if len(stated) == len(names) else (scored, "own score")
    if not names or len(told) < len(names):
        return None
    points, area = _swept(told, features=len(known))
    return CoverageCurve(
        condition=known[0].condition, title=known[0].title, by=by, points=tuple(points), area=area
    )


def _swept(told: Sequence[Told], *, features: int) -> tuple[list[CoveragePoint], float]:
    """The points, and the mean over coverages 1/features, 2/features, ..., 1 of the precision there.

    Names of equal confidence come in no order: between the points, as many of them are right as on average.
    A coverage that the names do not reach has precision 0.
    """
    points: list[CoveragePoint] = []
    kept = right = total = 0.0
    ranked = sorted(told, key=lambda each: -each.sure)
    for sure, tied in groupby(ranked, key=lambda each: each.sure):
        row = [each.right for each in tied]
        steps = np.arange(1, len(row) + 1)
        total += float(((right + steps * (sum(row) / len(row))) / (kept + steps)).sum())
        kept, right = kept + len(row), right + sum(row)
        points.append(CoveragePoint(coverage=kept / features, precision=right / kept, cut=sure))
    return points, total / features
