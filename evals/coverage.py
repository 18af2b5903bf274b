"""Whether a condition knows when it is right: coverage against precision, and calibration.

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
from evals.figures import share_of
from evals.scoreboard import CalibrationBin, CoverageCurve, CoveragePoint

BINS = 5


class _Told(NamedTuple):
    """A name, how sure its condition is of it, and whether it is right."""

    sure: float
    right: bool


def coverage_curves(cells: Iterable[Cell]) -> tuple[CoverageCurve, ...]:
    """A curve for each condition that states a confidence in all its names, or else scores them all."""
    curves = (_curve(known) for known in _known_by_condition(cells))
    return tuple(curve for curve in curves if curve is not None)


def calibration_bins(cells: Iterable[Cell]) -> tuple[CalibrationBin, ...]:
    """For each condition that states confidences, its names in five equal bins; empty ones are left out."""
    return tuple(found for known in _known_by_condition(cells) for found in _bins(known[0].condition, known))


def _known_by_condition(cells: Iterable[Cell]) -> list[list[Cell]]:
    known: dict[str, list[Cell]] = {}
    for cell in cells:
        if (cell.truth is not None or cell.grade.right is not None) and result_of(cell) != "failed":
            known.setdefault(cell.condition, []).append(cell)
    return list(known.values())


def _is_right(cell: Cell) -> bool:
    return cell.grade.right is True and (cell.truth is None or cell.truth.concept != "")


def _curve(known: Sequence[Cell]) -> CoverageCurve | None:
    names = [cell for cell in known if cell.answer.name is not None]
    stated = [
        _Told(cell.answer.confidence, _is_right(cell)) for cell in names if cell.answer.confidence is not None
    ]
    scored = [_Told(cell.answer.score, _is_right(cell)) for cell in names if cell.answer.score is not None]
    told, by = (stated, "confidence") if len(stated) == len(names) else (scored, "own score")
    if not names or len(told) < len(names):
        return None
    points, area = _swept(told, features=len(known))
    return CoverageCurve(
        condition=known[0].condition, title=known[0].title, by=by, points=tuple(points), area=area
    )


def _swept(told: Sequence[_Told], *, features: int) -> tuple[list[CoveragePoint], float]:
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


def _bins(condition: str, known: Sequence[Cell]) -> list[CalibrationBin]:
    binned: dict[int, list[_Told]] = {}
    for cell in known:
        sure = cell.answer.confidence
        if cell.answer.name is not None and sure is not None:
            binned.setdefault(min(BINS - 1, int(sure * BINS)), []).append(_Told(sure, _is_right(cell)))
    return [
        CalibrationBin(
            condition=condition,
            low=at / BINS,
            high=(at + 1) / BINS,
            confidence=sum(each.sure for each in row) / len(row),
            accuracy=share_of(each.right for each in row),
        )
        for at, row in sorted(binned.items())
    ]
