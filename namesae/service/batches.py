"""Batches over the store: start, list, watch, stop and resume them."""

from __future__ import annotations

import builtins
import time
from collections.abc import Sequence

from pydantic import Field

from agent.records import VerdictKind
from agent.survey_log import SurveyLog
from namesae.batch_records import BatchAsk, BatchRow
from namesae.batch_store import BatchStore, Tally, latest_batches
from namesae.selection import choose_features, parse_selection
from namesae.service.errors import Conflict, NotFound
from namesae.service.job_records import Job, JobState
from namesae.service.job_runner import ask_of, limits_of
from namesae.service.jobs import Jobs
from namesae.service.orders import BatchOrder
from namesae.service.reach import listed_dictionary, settings_of_order
from namesae.settings import Settings
from namesae.wiring import State, Workbench
from sae.feature import Frozen
from tools.errors import NamesaeError


class BatchStatus(Frozen):
    """How a batch stands, whoever started it."""

    id: str
    selection: str
    state: JobState | None
    """None for a batch that is no job: one of the command line."""
    asked: int
    """Features."""
    done: int
    """Features that have a verdict."""
    verdicts: dict[VerdictKind, int] = Field(default_factory=dict)
    """How many features got each."""
    search: int = 0
    """Images charged to searches so far, the survey's included."""
    usd: float | None = 0.0
    """Spent so far; None where a price is unknown."""
    seconds_left: float | None = None
    """While a worker is at it and has named at least one."""
    started: float = 0.0
    """Seconds since the epoch."""
    error: str | None = None


class Batches:
    """Many features at once. Safe to share between threads."""

    def __init__(self, settings: Settings, state: State) -> None:
        self.settings, self.state = settings, state
        self.jobs = Jobs(state.client)

    def start(self, order: BatchOrder, *, who: str, key: str | None = None) -> BatchStatus:
        """Accept a batch; the same order is the same batch, which goes on where it stopped.

        UsageError for what cannot be asked; NotFound for a dictionary that is not listed; Conflict for a key
        of another order; QueueFull.
        """
        kept = self.jobs.recall(order, who=who, key=key)
        if kept is not None:
            return self.get(kept.id)
        from agent.runs import refuse_unpriced
        from namesae.batching import BatchRun
        from namesae.service.job_reporters import QueuedBatch
        from namesae.stopping import Stop

        listed = listed_dictionary(parse_selection(order.selection).dictionary, self.settings)
        bench = Workbench(settings_of_order(order, self.settings), self.state, listed=listed)
        reporter = QueuedBatch(Stop(), lambda: None, store=self._store)
        run = BatchRun(ask_of(order), bench, limits_of(order), reporter=reporter)
        refuse_unpriced(bench.request(run.indices[0]), bench.proposer)
        self.jobs.require_room()
        run.accept()
        return self.get(self.jobs.put(order, job_id=run.batch, who=who, key=key).id)

    def list(self, *, limit: int = 50) -> tuple[BatchStatus, ...]:
        """The batches started last, latest first."""
        return tuple(self._statuses(latest_batches(self.state.client, count=limit)))

    def get(self, batch: str) -> BatchStatus:
        """One batch; NotFound."""
        found = self._statuses([batch])
        if not found:
            raise NotFound(f"Batch {batch!r} does not exist.")
        return found[0]

    def rows(self, batch: str, *, after: int = -1, limit: int = 200) -> tuple[BatchRow, ...]:
        """Features that have a verdict, by index, from above ``after``; NotFound."""
        self.get(batch)
        store = self._store(batch)
        return tuple(store.rows([index for index in store.indices() if index > after][:limit]))

    def pause(self, batch: str) -> BatchStatus:
        """Stop after the step in progress, to be resumed; NotFound, Conflict where nothing can be paused."""
        self._job(batch)
        self.jobs.halt(batch, "pause")
        return self.get(batch)

    def cancel(self, batch: str) -> BatchStatus:
        """Stop after the step in progress for good; NotFound, Conflict where it has ended."""
        self._job(batch)
        self.jobs.halt(batch, "cancel")
        return self.get(batch)

    def resume(self, batch: str, *, who: str = "local") -> BatchStatus:
        """Go on with a paused or failed batch, or one that left features without a verdict.

        NotFound; QueueFull; Conflict where there is nothing to resume.
        """
        status, job = self.get(batch), self.jobs.find(batch)
        if job is None:
            self.jobs.put(self._order(batch), job_id=batch, who=who)
        elif job.state == "ended" and status.done < status.asked:
            self.jobs.put(job.order, job_id=batch, who=who)
        else:
            self.jobs.resume(batch)
        return self.get(batch)

    def _job(self, batch: str) -> Job:
        self.get(batch)
        job = self.jobs.find(batch)
        if job is None:
            raise Conflict(f"Batch {batch} was begun by a command: stop it where it runs.")
        return job

    def _order(self, batch: str) -> BatchOrder:
        """A batch of the command line, as an order. Conflict where it chose what no order may."""
        ask, limits = self._store(batch).ask, self._store(batch).limits
        assert ask is not None
        if ask.generator is not None or ask.images is not None or ask.yes:
            raise Conflict(
                f"Batch {batch} was begun with flags of the command: go on with it by that command."
            )
        listed_dictionary(parse_selection(ask.selection).dictionary, self.settings)
        chosen = {name: value for name, value in _told(ask) if value is not None}
        if limits is not None:
            chosen |= {"total_images": limits.images, "total_cost": limits.usd}
        return BatchOrder.model_validate(chosen)

    def _store(self, batch: str) -> BatchStore:
        return BatchStore(self.state.client, batch)

    def _statuses(self, batches: Sequence[str]) -> builtins.list[BatchStatus]:
        found = ((batch, self._store(batch).tally()) for batch in batches)
        return [self._status(batch, tally) for batch, tally in found if tally is not None]

    def _status(self, batch: str, tally: Tally) -> BatchStatus:
        job, ask = self.jobs.find(batch), self._store(batch).ask
        surveyed = sum(SurveyLog(self.state.client, batch).charged().values())
        selection = "" if ask is None else ask.selection
        running = job is not None and job.state == "running" and tally.ready_at is not None
        return BatchStatus(
            id=batch,
            selection=selection,
            state=None if job is None else job.state,
            asked=self._asked(selection) if tally.features is None else tally.features,
            done=tally.done,
            verdicts=tally.verdicts,
            search=tally.search + surveyed,
            usd=tally.usd,
            seconds_left=max(0.0, (tally.ready_at or 0.0) - time.time()) if running else None,
            started=tally.begun,
            error=None if job is None else job.error,
        )

    def _asked(self, selection: str) -> int:
        """How many features a batch of an older version is of; 0 where its dictionary has gone."""
        try:
            chosen = parse_selection(selection)
            return len(choose_features(chosen, listed_dictionary(chosen.dictionary, self.settings)))
        except NamesaeError:
            return 0


def _told(ask: BatchAsk) -> builtins.list[tuple[str, object]]:
    return [
        ("selection", ask.selection),
        ("survey", ask.survey),
        ("proposer", ask.proposer),
        ("max_images", ask.max_images),
        ("cost_limit", ask.cost_limit),
        ("seed", ask.seed),
    ]
