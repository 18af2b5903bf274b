"""What hears of batches and evaluations that nobody watches: how far they are goes into the store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from namesae.batch_store import BatchStore
from namesae.stopping import Interrupted, Stop

if TYPE_CHECKING:
    from agent.events import Event
    from agent.records import Explanation
    from agent.survey import SurveyOutcome
    from evals.cell import Cell
    from evals.plan import Plan
    from namesae.batch_records import BatchLaunch, BatchProgress, BatchSummary

log = logging.getLogger(__name__)
MovedOn = Callable[[], None]
"""Called when a job came further."""


class QueuedBatch:
    """A BatchReporter."""

    def __init__(self, stop: Stop, moved_on: MovedOn, *, store: Callable[[str], BatchStore]) -> None:
        self._stop, self._moved_on, self._open = stop, moved_on, store
        self._store: BatchStore | None = None

    def launch(self, launch: BatchLaunch) -> None:
        """Which batch it is."""
        self._store = self._open(launch.batch)
        self._store.pace(None, now=time.time())

    def say(self, text: str) -> None:
        """To the log."""
        log.info("%s", text)

    def drawn(self, images: int, total: int) -> None:
        """A part of the survey is there: the place to stop in it. Interrupted."""
        self._moved_on()
        if self._stop.number is not None:
            raise Interrupted(self._stop.number)

    def survey(self, survey: SurveyOutcome) -> None:
        """Nothing: it is on record."""

    def event(self, event: Event) -> None:
        """A run came further."""
        if event.what.kind not in ("started", "streamed"):
            self._moved_on()

    def feature(self, explanation: Explanation, progress: BatchProgress) -> None:
        """How long the rest will take."""
        self._moved_on()
        if self._store is not None:
            self._store.pace(progress.seconds_left, now=time.time())

    def done(self, summary: BatchSummary) -> None:
        """Nothing: the job says it."""


class QueuedEval:
    """An EvalReporter."""

    def __init__(self, moved_on: MovedOn) -> None:
        self._moved_on = moved_on

    def begin(self, plan: Plan, *, done: int) -> None:
        """To the log."""
        log.info("suite %s: %d of %d cells are there", plan.suite.name, done, len(plan.jobs_now))

    def cell(self, cell: Cell) -> None:
        """One more."""
        self._moved_on()

    def say(self, text: str) -> None:
        """To the log."""
        log.info("%s", text)

    def stop(self) -> None:
        """Nothing to take away."""

    def done(self, record: Mapping[str, Any]) -> None:
        """To the log."""
        log.info("report: %s", record["report"])
