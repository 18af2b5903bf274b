"""Evaluations of the data directory: started as jobs, read as leaderboards, comparisons and tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from evals.cell import Cell
from evals.results import RunRecord
from evals.scoreboard import Scoreboard
from namesae.service.errors import Conflict, NotFound
from namesae.service.evaluation_folders import EvaluationFolders, missing
from namesae.service.evaluation_records import Comparison, EvalState, EvalStatus, Measure
from namesae.service.job_records import Job
from namesae.service.orders import EvalOrder
from sae.feature import Feature
from tools.errors import NamesaeError, UsageError

if TYPE_CHECKING:
    from evals.table import Table
    from namesae.service.jobs import Jobs
    from namesae.settings import Settings
    from namesae.wiring import State

FRESH_S = 120.0
"""An evaluation of the command line whose last cell is no older than this is taken to be running."""
UNDER_WAY: tuple[EvalState, ...] = ("queued", "running")


class Evaluations:
    """Suites against ground truth; safe to call from several threads at once."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._state = state
        self.folders = EvaluationFolders(settings.home / "evals" / "runs")

    def folder(self, evaluation: str) -> Path:
        """Where the results of an evaluation lie. NotFound."""
        return self.folders.folder(evaluation)

    def suites(self) -> tuple[str, ...]:
        """The suites that can be run by name."""
        from evals.suite import built_in_suites

        return built_in_suites()

    def start(self, order: EvalOrder, *, who: str, key: str | None = None) -> Job:
        """Run what is missing of a built-in suite; one that is under way is returned as it is.

        UsageError for an unknown suite or condition; Conflict where the id holds another suite; QueueFull.
        """
        chosen = self._checked(order)
        assert chosen.id is not None
        return self._jobs.put(chosen, job_id=chosen.id, who=who, key=key)

    def pause(self, evaluation: str) -> None:
        """Stop after the cell in progress. NotFound where no job fills it."""
        self._jobs.halt(self.folder(evaluation).name, "pause")

    def cancel(self, evaluation: str) -> None:
        """Stop for good; what is filled stays."""
        self._jobs.halt(self.folder(evaluation).name, "cancel")

    def resume(self, evaluation: str) -> None:
        """Go on where it was paused or failed. NotFound where no job filled it."""
        self._jobs.resume(self.folder(evaluation).name)

    def list(self, *, limit: int = 50) -> tuple[EvalStatus, ...]:
        """All that have results or wait for a worker, latest first; a folder that cannot be read says so."""
        jobs = {job.id: job for job in self._jobs.list(kind="eval", limit=limit)}
        folders = set(self.folders.names())
        found = [self._status(name, jobs.get(name)) for name in (*folders, *(jobs.keys() - folders))]
        return tuple(sorted(found, key=_recency, reverse=True))[:limit]

    def status(self, evaluation: str) -> EvalStatus:
        """How one stands. NotFound."""
        name = self.folder(evaluation).name
        job = self._job(name)
        if job is None and name not in self.folders.names():
            raise missing(evaluation)
        return self._status(name, job)

    def board(self, evaluation: str) -> Scoreboard:
        """Every figure of an evaluation, finished or not. NotFound where it has no cell yet."""
        return self.folders.board(evaluation)

    def record(self, evaluation: str) -> RunRecord:
        """What the evaluation is of. NotFound."""
        return self.folders.read(evaluation).record

    def cells(self, evaluation: str) -> tuple[Cell, ...]:
        """The cells that are filled, condition by condition. NotFound."""
        return self.folders.read(evaluation).cells

    def cell(self, evaluation: str, condition: str, feature: Feature) -> Cell:
        """What one condition said of one feature. NotFound."""
        for cell in self.cells(evaluation):
            if cell.condition == condition and cell.feature == feature:
                return cell
        raise NotFound(f"Evaluation {evaluation} has no cell of {condition} for {feature}; see its features.")

    def comparison(self, evaluation: str, a: str, b: str, *, metric: Measure = "accuracy") -> Comparison:
        """One condition less another, paired by feature. NotFound; UsageError: no such pair."""
        from namesae.service.comparisons import compared

        if metric not in get_args(Measure):
            raise UsageError(f"Measure {metric!r} does not exist; there are {', '.join(get_args(Measure))}.")
        held = self.folders.read(evaluation)
        return compared(evaluation, held.cells, (a, b), measure=metric, seed=held.record.suite.seed)

    def leaderboard(self, evaluation: str, *, group: str = "all") -> Table:
        """The leaderboard of one group of features, best first and controls last. NotFound."""
        from evals.report_tables import leaderboard

        whole = leaderboard(self.board(evaluation))
        lines = tuple(line for line in whole.lines if line.group == group)
        if not lines:
            raise NotFound(f"Evaluation {evaluation} has no group {group!r}; 'all' is every feature.")
        return whole._replace(lines=lines)

    def csv(self, evaluation: str, *, group: str = "all") -> str:
        """The leaderboard as CSV, exactly as it is shown. NotFound."""
        from evals.table import csv_text

        return csv_text(self.leaderboard(evaluation, group=group))

    def comparison_csv(
        self, evaluation: str, a: str, b: str, *, metric: Measure = "accuracy", show: str = "all"
    ) -> str:
        """A comparison as CSV, exactly as it is shown; ``show`` as in ``comparisons.comparison_table``."""
        from evals.table import csv_text
        from namesae.service.comparisons import comparison_table

        return csv_text(comparison_table(self.comparison(evaluation, a, b, metric=metric), show=show))

    def told_of(self, dictionary: str, *, most: int = 5) -> Iterator[tuple[str, Cell]]:
        """(evaluation, cell) for the features of a dictionary, of the evaluations that changed last."""
        for status in self.list(limit=most):
            try:
                cells = self.cells(status.id)
            except NamesaeError:
                continue
            yield from ((status.id, cell) for cell in cells if cell.feature.dictionary == dictionary)

    @property
    def _jobs(self) -> Jobs:
        from namesae.service.jobs import Jobs

        return Jobs(self._state.client)

    def _job(self, name: str) -> Job | None:
        try:
            job = self._jobs.get(name)
        except NotFound:
            return None
        return job if job.order.kind == "eval" else None

    def _checked(self, order: EvalOrder) -> EvalOrder:
        """The order with its id; UsageError or Conflict where it cannot be carried out."""
        from evals.conditions import CONDITIONS
        from evals.suite import read_suite

        if order.suite not in self.suites():
            raise UsageError(f"Suite {order.suite!r} does not exist; there are {', '.join(self.suites())}.")
        suite = read_suite(order.suite, tuple(CONDITIONS))
        unknown = [name for name in order.conditions if name not in suite.conditions]
        if unknown:
            raise UsageError(
                f"Suite {suite.name} has no condition {unknown[0]!r}; it has {', '.join(suite.conditions)}."
            )
        name = order.id or order.suite
        held = self.folders.record(name)
        if held is not None and held.suite.name != suite.name:
            raise Conflict(f"Evaluation {name} holds results of {held.suite.name}; choose another id.")
        return order.model_copy(update={"id": name})

    def _status(self, name: str, job: Job | None) -> EvalStatus:
        try:
            record, fault = self.folders.record(name), None
        except NamesaeError as error:
            record, fault = None, str(error)
        counted = self.folders.counted(name)
        status = _of_record(name, record, job)
        state = _state(job, filled=counted.cells, expected=status.expected, changed=counted.changed)
        told = {
            "state": "failed" if fault else state,
            "cells": counted.cells,
            "changed": counted.changed or (None if job is None else job.asked),
            "error": fault or (None if job is None else job.error),
        }
        return status.model_copy(update=told)


def _of_record(name: str, record: RunRecord | None, job: Job | None) -> EvalStatus:
    who, halt = (None, None) if job is None else (job.who, job.halt)
    if record is None:
        suite = job.order.suite if job is not None and job.order.kind == "eval" else name
        return EvalStatus(id=name, suite=suite, state="queued", who=who, halt=halt)
    return EvalStatus(
        id=name,
        suite=record.suite.name,
        description=record.suite.description,
        state="stopped",
        proposer=record.proposer,
        conditions=tuple(each.condition for each in record.conditions),
        features=len({each.feature for each in record.expected}),
        expected=len(record.expected),
        who=who,
        halt=halt,
    )


def _state(job: Job | None, *, filled: int, expected: int, changed: float | None) -> EvalState:
    if job is not None:
        return job.state
    if expected and filled >= expected:
        return "ended"
    return "running" if changed is not None and time.time() - changed < FRESH_S else "stopped"


def _recency(status: EvalStatus) -> tuple[bool, float]:
    return status.state in UNDER_WAY, status.changed or 0.0
