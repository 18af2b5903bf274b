"""Carries out one job: a naming, a batch, an evaluation; says in the queue what became of it."""

from __future__ import annotations

import gc
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import redis

from agent.budget import BatchLimits
from agent.events import Event
from agent.records import Explanation
from agent.runs_store import RunRow
from namesae.batch_records import BatchAsk
from namesae.batch_store import BatchStore
from namesae.dictionaries import find_dictionary
from namesae.faults import fault_of
from namesae.models import Say
from namesae.selection import parse_selection
from namesae.service.job_leases import LeaseLost
from namesae.service.job_records import Job, JobState
from namesae.service.job_reporters import QueuedBatch, QueuedEval
from namesae.service.jobs import Jobs
from namesae.service.orders import BatchOrder, EvalOrder
from namesae.service.reach import settings_of_order, settings_of_request
from namesae.service.work_stop import JobStop, kept_alive
from namesae.settings import Settings
from namesae.stopping import Interrupted, Stop
from namesae.wiring import State, Workbench, quiet
from tools.errors import BudgetError, UsageError

log = logging.getLogger(__name__)

MOST_BENCHES = 2
"""Dictionaries whose models stay loaded."""
AWAY_S = 1.0
AWAY = (redis.ConnectionError, redis.TimeoutError)


class Ending(NamedTuple):
    """What became of a job."""

    state: JobState
    error: str | None = None
    """A sentence, where something was left undone."""
    exit_code: int | None = None


class _Stopped(Exception):
    """The job was stopped after a step."""


class JobRunner:
    """What a worker works with: the models of the last dictionaries it served stay loaded."""

    def __init__(self, settings: Settings, state: State, *, jobs: Jobs, say: Say = quiet) -> None:
        self.settings, self.state, self._jobs, self._say = settings, state, jobs, say
        self._benches: OrderedDict[str, Workbench] = OrderedDict()

    def carry_out(self, job: Job, worker: Stop) -> Ending | None:
        """Do the job and say what became of it; None where another worker has it by now.

        Where ``worker`` is to leave, the job goes back to the head of the queue after the step in progress.
        """
        stop = JobStop(worker)
        try:
            with kept_alive(self._jobs, job.id, stop):
                ending = self._ending(job, stop)
            self._leave(job, ending, stop)
        except LeaseLost as error:
            self._say(str(error))
            return None
        if ending.state == "waiting":
            self._go_on_where_ruled(job)
        return ending

    def _ending(self, job: Job, stop: JobStop) -> Ending:
        from agent.runs import AwaitsReview, Drained, OutOfBudget

        try:
            return self._done(job, stop)
        except (Interrupted, Drained, _Stopped):
            return _stopped(job, stop)
        except AwaitsReview:
            return Ending("waiting")
        except OutOfBudget as error:
            return Ending("ended", str(error), error.exit_code)
        except Exception as error:  # noqa: BLE001 - a job that fails stops no worker
            return _failed(job, error)

    def _done(self, job: Job, stop: JobStop) -> Ending:
        if stop.halt is not None and job.order.kind in ("batch", "eval"):
            # Its last worker died before it could stop.
            raise _Stopped
        if isinstance(job.order, BatchOrder):
            return self._batch(job, job.order, stop)
        if isinstance(job.order, EvalOrder):
            return self._evaluation(job, job.order, stop)
        return self._naming(job, stop)

    def _naming(self, job: Job, stop: JobStop) -> Ending:
        """A naming, a fork or a ruled name: an accepted run, from wherever it stands."""
        from namesae.reviewing import carry_on

        row = self.state.runs.row(job.id)
        if row is None:
            raise UsageError(f"Run {job.id} is not on record; name the feature again.")
        if row.explanation is not None:
            return _named(row.explanation)
        moved_on = self._moves(job)

        def hear(event: Event) -> None:
            if event.what.kind not in ("started", "streamed"):
                moved_on()

        return _named(carry_on(row.request, row.run, bench=self._bench_of(row, stop), emit=hear))

    def _batch(self, job: Job, order: BatchOrder, stop: JobStop) -> Ending:
        from namesae.batch_call import outcome_of
        from namesae.batching import BatchRun

        chosen = settings_of_order(order, self.settings)
        bench = self._bench(parse_selection(order.selection).dictionary, chosen, stop)
        client = self.state.client
        reporter = QueuedBatch(stop, self._moves(job), store=lambda batch: BatchStore(client, batch))
        run = BatchRun(ask_of(order), bench, limits_of(order), reporter=reporter)
        if run.batch != job.id:
            raise UsageError(f"What batch {job.id} was to name has changed since; start it again.")
        run.carry_out(stop=stop)
        code, error = outcome_of(run)
        if code and error is None:
            count = len(run.failures)
            error = f"{count} feature{'s' if count > 1 else ''} failed; resume the batch to try again."
        return Ending("ended" if code in (0, BudgetError.exit_code) else "failed", error, code)

    def _evaluation(self, job: Job, order: EvalOrder, stop: JobStop) -> Ending:
        from namesae.evaluating import Wanted, fill

        # Its models are opened anew, and would not fit beside the others.
        self._close_benches(0)
        wanted = Wanted(
            suite=order.suite,
            out=self.settings.home / "evals" / "runs" / job.id,
            only=order.conditions or None,
            proposer=order.proposer,
        )
        code = fill(wanted, self.settings, reporter=QueuedEval(self._moves(job)), stop=stop)
        if code is None:
            raise _Stopped
        return Ending(
            "ended", "Some features failed; start it again to try them anew." if code else None, code
        )

    def _bench_of(self, row: RunRow, stop: JobStop) -> Workbench:
        """The workbench an accepted run goes on at. UsageError where it was made with other models."""
        from namesae.reviewing import Absent, require_models

        request, name = row.request, row.request.feature.dictionary
        chosen = settings_of_request(request, self.settings)
        bench = self._bench(name, chosen, stop)
        if bench.models.fingerprint != request.models:
            # The dictionary may have been replaced since it was opened.
            del self._benches[name]
            bench = self._bench(name, chosen, stop)
        require_models(row, bench)
        if row.question is not None:
            # Only numbers and a person decide now.
            bench.proposer = Absent(request.proposer, request.proposer_fingerprint)
        elif bench.proposer.fingerprint != request.proposer_fingerprint:
            raise UsageError(
                f"Run {row.run} was begun with another {request.proposer} than this worker asks (endpoint, "
                "settings or prompts differ); name the feature again."
            )
        return bench

    def _bench(self, dictionary: str, settings: Settings, stop: JobStop) -> Workbench:
        bench = self._benches.get(dictionary)
        if bench is None:
            self._close_benches(MOST_BENCHES - 1)
            listed = find_dictionary(dictionary, settings)
            bench = self._benches[dictionary] = Workbench(settings, self.state, listed=listed, say=self._say)
        self._benches.move_to_end(dictionary)
        bench.turn_to(settings, asked=stop.asked)
        return bench

    def _close_benches(self, most: int) -> None:
        """Let go of all but the ``most`` last ones."""
        while len(self._benches) > most:
            self._benches.popitem(last=False)
            gc.collect()

    def _moves(self, job: Job) -> Callable[[], None]:
        """What to call when the job came further: then it is not what kills its workers."""
        tries = job.tries

        def moved_on() -> None:
            nonlocal tries
            if tries:
                self._jobs.moved_on(job.id)
                tries = 0

        return moved_on

    def _leave(self, job: Job, ending: Ending, stop: JobStop) -> None:
        """Say what became of it, as soon as the queue can be reached."""
        while True:
            try:
                self._jobs.leave(job.id, ending.state, error=ending.error, exit_code=ending.exit_code)
                return
            except AWAY:
                if stop.leaving:
                    raise
                time.sleep(AWAY_S)

    def _go_on_where_ruled(self, job: Job) -> None:
        """Where the ruling came before the job was seen to wait, nobody else queues it."""
        row = self.state.runs.row(job.id)
        if row is not None and row.ruling is not None and row.explanation is None:
            self._jobs.wake(job.id)


def ask_of(order: BatchOrder) -> BatchAsk:
    """A batch as the command line asks for it."""
    return BatchAsk(
        selection=order.selection,
        survey=order.survey,
        proposer=order.proposer,
        max_images=order.max_images,
        cost_limit=order.cost_limit,
        seed=order.seed,
    )


def limits_of(order: BatchOrder) -> BatchLimits:
    """Of the batch as a whole."""
    return BatchLimits(images=order.total_images, usd=order.total_cost)


def _named(told: Explanation) -> Ending:
    if told.verdict == "cancelled":
        return Ending("cancelled")
    return Ending("ended", exit_code=int(told.verdict == "failed"))


def _stopped(job: Job, stop: JobStop) -> Ending:
    if stop.halt == "cancel":
        return Ending("cancelled")
    if stop.leaving and stop.halt is None:
        return Ending("queued")
    return Ending("paused")


def _failed(job: Job, error: Exception) -> Ending:
    if isinstance(error, AWAY) or isinstance(error.__cause__, AWAY):
        # The store was away, which is not the job's fault: any worker may go on with it.
        return Ending("queued")
    fault = fault_of(error)
    if not fault.expected:
        log.error("%s %s failed", job.order.kind, job.id, exc_info=error)
    sentence = fault.sentence.replace("repeat with --debug to see where", "the worker's log says where")
    return Ending("failed", sentence, fault.exit_code)
