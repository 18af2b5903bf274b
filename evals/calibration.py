"""Whether a stated confidence is a frequency: bins of equal mass and the expected calibration error.

Only features whose truth is known count, and no failed cells (evals/coverage.py). A name for a feature
without a true concept is wrong; weak names are names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from evals.cell import Cell
from evals.cell_result import rightly
from evals.coverage import Told, is_right, known_by_condition
from evals.figures import figure_of, share_of
from evals.scoreboard import CalibrationBin, CalibrationError, Figure
from sae.intervals import Estimate, percentiles

Doubles = npt.NDArray[np.float64]
BINS = 5
ROUNDS = 2000
LEAST = 2
"""Answers of which there can be an error at all."""


def calibration_bins(cells: Iterable[Cell]) -> tuple[CalibrationBin, ...]:
    """For each condition that states confidences, its names in up to five bins of equal mass."""
    return tuple(found for known in known_by_condition(cells) for found in _bins(known))


def calibration_errors(cells: Iterable[Cell], *, seed: int) -> tuple[CalibrationError, ...]:
    """For each such condition the error of its names, and of all it says: a name, or that there is none.

    A feature without a name counts with confidence one less what is stated in a name (none: 0), and is right
    where no name should be given. Intervals are of resampled features.
    """
    found = []
    for known in known_by_condition(cells):
        names, everything = _names(known), _everything(known)
        if names:
            found.append(
                CalibrationError(
                    condition=known[0].condition,
                    names=error_of(names, seed=seed),
                    everything=error_of(everything, seed=seed),
                )
            )
    return tuple(found)


def error_of(told: Sequence[Told], *, seed: int) -> Figure:
    """The expected calibration error with its interval; without a value below two answers."""
    if len(told) < LEAST:
        return Figure(value=None)
    sure = np.array([each.sure for each in told], dtype=np.float64)
    right = np.array([each.right for each in told], dtype=np.float64)
    picks = np.random.default_rng(seed).integers(len(told), size=(ROUNDS, len(told)))
    draws = [expected_error(sure[pick], right[pick]) for pick in picks]
    return figure_of(Estimate(value=expected_error(sure, right), interval=percentiles(draws)), n=len(told))


def expected_error(sure: Doubles, right: Doubles) -> float:
    """Mean over bins of equal mass, weighted by it, of |mean confidence - accuracy|."""
    places = bins_of(sure)
    gaps = np.bincount(places, weights=sure - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(sure))


def bins_of(sure: Doubles) -> npt.NDArray[np.intp]:
    """(n,) the bin, 0 to 4, of each confidence: a fifth of all in each, but that equal ones share the bin in
    which the middle of them lies; then a bin may stay empty."""
    _, which, counts = np.unique(sure, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - counts / 2
    places: npt.NDArray[np.intp] = np.minimum(BINS - 1, (BINS * middles / len(sure)).astype(np.intp))[which]
    return places


def _names(known: Sequence[Cell]) -> list[Told]:
    return [
        Told(cell.answer.confidence, is_right(cell))
        for cell in known
        if cell.answer.name is not None and cell.answer.confidence is not None
    ]


def _everything(known: Sequence[Cell]) -> list[Told]:
    silent = [cell for cell in known if cell.answer.name is None]
    return _names(known) + [Told(1.0 - (cell.answer.confidence or 0.0), rightly(cell)) for cell in silent]


def _bins(known: Sequence[Cell]) -> list[CalibrationBin]:
    told = _names(known)
    if not told:
        return []
    places = bins_of(np.array([each.sure for each in told], dtype=np.float64)).tolist()
    rows = [
        [each for each, place in zip(told, places, strict=True) if place == at] for at in sorted(set(places))
    ]
    return [
        CalibrationBin(
            condition=known[0].condition,
            low=min(each.sure for each in row),
            high=max(each.sure for each in row),
            confidence=sum(each.sure for each in row) / len(row),
            accuracy=share_of(each.right for each in row),
        )
        for row in rows
    ]
