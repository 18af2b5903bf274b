"""Fits the chance that a name is right: python -m benchmarks.fit_confidence DIR [--condition agent] [--c 1].

DIR is the --out of a run of the suite ``fitting``, made with the same data directory (NAMESAE_HOME): the
explanations behind its cells lie there. Prints the coefficients that agent/verdict.py takes as FITTED, and
how well they do on names that were left out of the fit one at a time, beside the lift alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agent.plans import Candidate, CandidateKind
from agent.records import Explanation
from agent.told import with_told
from agent.verdict import Confidence, Figures, Signs, judged_on, signs_of
from evals.calibration import error_of
from evals.cell import Cell
from evals.coverage import Told, is_right, known_by_condition
from evals.results import Results

Doubles = npt.NDArray[np.float64]


class Row(NamedTuple):
    """A name that was given, what spoke for it, and whether it is right."""

    signs: Signs
    right: bool


class Fit(NamedTuple):
    """What a fit comes to."""

    confidence: Confidence
    left_out: Doubles
    """(n,) the chance of each row by a fit of all others."""


def figures_told(told: Explanation) -> Figures | None:
    """What the verdict of a finished run depended on; None where no name was judged."""
    evidence = told.evidence
    if evidence is None or told.sealed is None:
        return None
    return Figures(
        density=evidence.facts.density,
        threshold=evidence.facts.threshold,
        joined="not" if evidence.contrast is not None else "or" if evidence.part_scores else "one",
        sealed=told.sealed,
        parts=evidence.part_scores,
        contrast=evidence.contrast,
        floor=evidence.floor_auroc,
        check=evidence.check,
        reading=_told(told),
    )


def _told(told: Explanation) -> float | None:
    """F1 with which the name tells the probe set; of runs recorded without it, that of the same words."""
    evidence = told.evidence
    if evidence is None or told.name is None or evidence.told is not None:
        return evidence.told if evidence is not None else None
    readings = evidence.facts.readings
    kind: CandidateKind = "not" if evidence.contrast is not None else "or" if evidence.part_scores else "and"
    named = Candidate(name=told.name, kind=kind, parts=told.parts, prompts=(told.name,))
    found = with_told(named, readings).told
    kinds = ("one", "and") if kind == "and" else (kind,)
    return found if found is not None else min((r.f1 for r in readings if r.kind in kinds), default=None)


def rows_of(cells: Iterable[Cell], explained: Callable[[str], Explanation | None]) -> list[Row]:
    """The names of one condition whose explanation is there; ``explained``: a run's, by its id."""
    known = [cell for cells_of_one in known_by_condition(cells) for cell in cells_of_one]
    rows = []
    for cell in (cell for cell in known if cell.answer.name is not None):
        told = explained(cell.answer.run)
        figures = None if told is None else figures_told(told)
        if figures is not None and figures.sealed is not None:
            rows.append(Row(signs_of(*judged_on(figures, figures.sealed)), is_right(cell)))
    return rows


def fitted(rows: Sequence[Row], *, c: float = 1.0) -> Confidence:
    """L2-regularised logistic regression; ``c``: the inverse of its strength. ValueError where all or none of
    the names are right."""
    from sklearn.linear_model import LogisticRegression

    right = np.array([row.right for row in rows])
    if right.all() or not right.any():
        raise ValueError(f"Of {len(rows)} names {int(right.sum())} are right; there is nothing to fit.")
    signs = np.array([row.signs for row in rows], dtype=np.float64)
    model = LogisticRegression(C=c, max_iter=1000).fit(signs, right)
    weights = dict(zip(Signs._fields, model.coef_[0].tolist(), strict=True))
    return Confidence(intercept=float(model.intercept_[0]), **weights)


def fit(rows: Sequence[Row], *, c: float = 1.0) -> Fit:
    """The coefficients, and for each name the chance by those fitted on all others."""
    left_out = [fitted([*rows[:at], *rows[at + 1 :]], c=c).of(row.signs) for at, row in enumerate(rows)]
    return Fit(fitted(rows, c=c), np.array(left_out))


def report(rows: Sequence[Row], *, c: float, seed: int) -> str:
    """What is printed."""
    found = fit(rows, c=c)
    right = sum(row.right for row in rows)
    lines = [f"{len(rows)} names, {right} right", "FITTED = Confidence("]
    lines += [f"    {name}={value:.3f}," for name, value in found.confidence.model_dump().items()]
    lines.append(")")
    lifts = np.array([row.signs.lift - row.signs.shortfall for row in rows])
    for title, sure in (("left out", found.left_out), ("lift alone", lifts)):
        told = [Told(float(each), row.right) for each, row in zip(sure, rows, strict=True)]
        error = error_of(told, seed=seed)
        lines.append(
            f"{title:<12} calibration error {error.value:.3f} [{error.low:.3f}, {error.high:.3f}]"
            f"   Brier {brier(sure, rows):.3f}"
        )
    return "\n".join(lines) + "\n"


def brier(sure: Doubles, rows: Sequence[Row]) -> float:
    """Mean squared distance of the chances from what came of them."""
    return float(np.mean(np.square(sure - np.array([row.right for row in rows], dtype=np.float64))))


def main() -> int:
    """Read, fit, print."""
    from namesae.settings import load_settings
    from namesae.wiring import open_state

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--condition", default="agent")
    parser.add_argument("--c", type=float, default=1.0)
    asked = parser.parse_args()
    results = Results(asked.folder)
    record = results.record()
    cells = [cell for cell in results.cells(record) if cell.condition == asked.condition]
    with open_state(load_settings()) as state:

        def explained(run: str) -> Explanation | None:
            row = state.runs.row(run) if run else None
            return None if row is None else row.explanation

        rows = rows_of(cells, explained)
    missing = sum(cell.answer.name is not None for cell in cells) - len(rows)
    if missing:
        sys.stderr.write(f"{missing} names have no explanation here; was NAMESAE_HOME another one?\n")
    sys.stdout.write(report(rows, c=asked.c, seed=record.suite.seed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
