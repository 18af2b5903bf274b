"""How an evaluation stands, and two of its conditions compared feature by feature."""

from __future__ import annotations

from typing import Literal

from evals.cell_result import Result
from evals.scoreboard import Difference
from namesae.service.job_records import Halt
from sae.feature import Feature, Frozen

EvalState = Literal["queued", "running", "waiting", "paused", "ended", "failed", "cancelled", "stopped"]
Measure = Literal["accuracy", "named", "auroc", "auprc", "correlation"]
"""What two conditions can be compared by (evals/comparing.py)."""


class EvalStatus(Frozen):
    """One evaluation, whoever started it: a job, or the command line."""

    id: str
    suite: str
    description: str = ""
    state: EvalState
    """*stopped*: cells are missing and nobody is at work on them; starting the same id goes on."""
    proposer: str = ""
    conditions: tuple[str, ...] = ()
    features: int = 0
    cells: int = 0
    """Filled so far."""
    expected: int = 0
    changed: float | None = None
    """When the last cell was filled, seconds since the epoch."""
    who: str | None = None
    """Who asked for it; None where the command line did."""
    halt: Halt | None = None
    """What it was asked to do at its next cell."""
    error: str | None = None


class PairedAnswer(Frozen):
    """What one of two conditions said of a feature."""

    condition: str
    name: str | None
    result: Result
    weak: bool = False
    """Whether there is a name that is not put forward."""
    value: float | None
    """Of the measure; None where it has none."""
    run: str = ""
    """The run that found it, where one did."""


class PairedRow(Frozen):
    """One feature as both conditions saw it."""

    feature: Feature
    kind: str
    truth: str
    """The true concept; '' where nothing coherent is there, 'unknown' where nobody knows."""
    a: PairedAnswer
    b: PairedAnswer
    difference: float | None
    """a less b; None where either has no value."""


class Comparison(Frozen):
    """Two conditions on the same features."""

    id: str
    """Of the evaluation."""
    a: str
    b: str
    a_title: str
    b_title: str
    measure: Measure
    difference: Difference
    """a less b over the features both have the measure on, with its 95 % interval and two-sided p."""
    better: int
    """Features on which a has the greater value."""
    worse: int
    equal: int
    rows: tuple[PairedRow, ...]
