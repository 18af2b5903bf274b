"""Namings over the store: start, watch, stop, resume and fork them, whoever began them."""

from __future__ import annotations

import contextlib
import re
import time
import warnings

from pydantic import ValidationError

from agent.events import Entry
from agent.halting import Halt
from agent.records import VerdictKind
from agent.request import Request
from namesae.forking import ForkOrder
from namesae.proposers import PROPOSERS
from namesae.reviewing import Reply
from namesae.service.errors import Conflict, NotFound
from namesae.service.job_records import RunStatus
from namesae.service.jobs import Jobs
from namesae.service.orders import ForkJob, NameOrder, Order, RuleOrder
from namesae.service.reach import listed_dictionary, listed_feature, settings_of_order
from namesae.service.run_search import Wanted, find_runs
from namesae.service.run_states import run_statuses
from namesae.settings import Settings
from namesae.traces import Trace, read_trace
from namesae.wiring import LIBRARIES, State, Workbench
from tools.errors import UsageError

Entries = list[Entry]
"""``list`` is a method of Runs."""
_EVENT_ID = re.compile(r"[0-9]{1,19}(-[0-9]{1,19})?")


class Runs:
    """All runs of the store. Safe to share between threads."""

    def __init__(self, settings: Settings, state: State) -> None:
        self.settings, self.state = settings, state
        self.jobs = Jobs(state.client)

    def start(self, order: NameOrder, *, who: str, key: str | None = None) -> RunStatus:
        """The stored answer to an equal request, else a run that a worker carries out.

        It is on record before this returns. UsageError for what cannot be asked, e.g. openai without a key;
        NotFound for a dictionary or a feature that there is not; Conflict for a key of another order;
        QueueFull.
        """
        kept = self._kept(order, who=who, key=key)
        if kept is not None:
            return kept
        from agent.runs import refuse_unpriced

        listed, feature = listed_feature(order.feature, self.settings)
        bench = Workbench(settings_of_order(order, self.settings), self.state, listed=listed)
        request = bench.request(feature.index)
        found = None if order.again else self.state.runs.find(request)
        if found is not None:
            return self._stored(order, found.run, who=who, key=key)
        refuse_unpriced(request, bench.proposer)
        self.jobs.require_room()
        run = self.state.runs.begin(request, now=time.time(), again=order.again)
        return self._queued(order, run, who=who, key=key)

    def fork(self, order: ForkOrder, *, who: str, key: str | None = None) -> RunStatus:
        """Start a run from a step of another; raises as ``start`` does, UsageError where none can start."""
        from namesae.forking import accept_fork

        job = ForkJob(fork=order)
        kept = self._kept(job, who=who, key=key)
        if kept is not None:
            return kept
        origin = self._request(order.run)
        listed_dictionary(origin.feature.dictionary, self.settings)
        if order.proposer is not None and order.proposer not in PROPOSERS:
            known = ", ".join(PROPOSERS)
            raise UsageError(f"Proposer {order.proposer!r} does not exist; there are {known}.")
        self.jobs.require_room()
        try:
            fork = accept_fork(order, state=self.state, settings=self.settings)
        except ValidationError as error:
            raise UsageError(f"The fork asks for what no run can have: {_fault(error)}.") from error
        if fork.found is not None:
            return self._stored(job, fork.run, who=who, key=key)
        return self._queued(job, fork.run, who=who, key=key)

    def rule(self, order: RuleOrder, *, who: str) -> RunStatus:
        """Write down a ruling on a name that waits, and have the run carried on.

        NotFound; Conflict where none waits or somebody has ruled already; UsageError for a retest that cannot
        be done; QueueFull.
        """
        from namesae.reviewing import Decided, write_ruling

        status = self._unfinished(order.run)
        listed_dictionary(self._request(order.run).feature.dictionary, self.settings)
        row = self.state.runs.row(order.run)
        if row is None or row.question is None:
            raise Conflict(f"Run {order.run} is {status.state}, and no name of it waits for a review.")
        self.jobs.require_room()
        reply = Reply(action=order.action, name=order.name, why=order.why)
        settings = self.settings.model_copy(update={"user": who})
        try:
            write_ruling(order.run, reply, state=self.state, settings=settings)
        except Decided as error:
            raise Conflict(str(error)) from error
        self.jobs.put(order, job_id=order.run, who=who)
        return self.status(order.run)

    def pause(self, run: str) -> RunStatus:
        """Stop after the step in progress, to be resumed; NotFound, Conflict where nothing can be paused."""
        status = self._unfinished(run)
        if status.state == "paused":
            return status
        if status.state not in ("queued", "running"):
            raise Conflict(f"Run {run} is {status.state}, so there is nothing to pause.")
        # On the run for whoever is at work on it, on the job for the queue.
        self.state.runs.halt(run, "pause")
        self._halt_job(run, "pause")
        return self.status(run)

    def cancel(self, run: str) -> RunStatus:
        """End with the verdict 'cancelled', within a step; NotFound, Conflict where it has ended."""
        status = self.status(run)
        if status.state == "cancelled":
            return status
        self._unfinished(run)
        self.state.runs.halt(run, "cancel")
        self._halt_job(run, "cancel")
        told = _cancelled(self._request(run), run, self.state)
        if told not in (None, "cancelled"):
            raise Conflict(f"Run {run} has ended: {told}.")
        return self.status(run)

    def resume(self, run: str, *, who: str) -> RunStatus:
        """Go on with a paused, failed or stopped run; NotFound, QueueFull, Conflict where it is neither."""
        status = self._unfinished(run)
        if status.state == "waiting":
            raise Conflict(f"Run {run} waits for a review; rule on its name and it goes on.")
        if self.state.runs.halted(run) == "pause":
            self.state.runs.halt(run, None)
        job = self.jobs.find(run)
        if job is not None and job.state in ("queued", "running", "paused", "failed"):
            self.jobs.resume(run)
        elif status.state != "running":
            request = self._request(run)
            listed_dictionary(request.feature.dictionary, self.settings)
            self.jobs.put(_order_of(request), job_id=run, who=who)
        return self.status(run)

    def status(self, run: str) -> RunStatus:
        """How a run stands; NotFound."""
        found = run_statuses([run], self.state)
        if not found:
            raise NotFound(f"Run {run!r} does not exist.")
        return found[0]

    def list(
        self,
        *,
        dictionary: str | None = None,
        feature: str | None = None,
        state: str | None = None,
        limit: int = 50,
        before: float | None = None,
    ) -> tuple[RunStatus, ...]:
        """Runs, the latest first.

        ``feature``: DICTIONARY#INDEX. ``before``: accepted earlier than this, seconds since the epoch.
        """
        return find_runs(Wanted(dictionary, feature, state), self.state, limit=limit, before=before)

    def trace(self, run: str) -> Trace:
        """How the name was found, or is being found; NotFound."""
        self.status(run)
        return read_trace(run, self.state, settings=self.settings)

    def events(self, run: str, *, after: str = "0") -> Entries:
        """What has happened since the event of this id; NotFound, UsageError for what is no id."""
        self.status(run)
        if not _EVENT_ID.fullmatch(after):
            raise UsageError(
                f"{after[:40]!r} is not the id of an event; write 0 or an id such as 1700000000000-0."
            )
        return [*self.state.events.read(run, after=after)]

    def markdown(self, run: str) -> str:
        """The trace as Markdown; NotFound."""
        from namesae.service.trace_markdown import trace_markdown

        return trace_markdown(self.trace(run))

    def _kept(self, order: Order, *, who: str, key: str | None) -> RunStatus | None:
        """What the request with this key was answered with."""
        kept = self.jobs.recall(order, who=who, key=key)
        return None if kept is None else self.status(kept.id).model_copy(update={"stored": kept.stored})

    def _stored(self, order: Order, run: str, *, who: str, key: str | None) -> RunStatus:
        self.jobs.remember(order, run, who=who, key=key)
        return self.status(run).model_copy(update={"stored": True})

    def _queued(self, order: Order, run: str, *, who: str, key: str | None) -> RunStatus:
        """An accepted run in the queue; one that has ended without an answer is shown as it is."""
        status = self.status(run)
        if status.verdict is not None:
            self.jobs.remember(order, run, who=who, key=key)
            return status
        return self.status(self.jobs.put(order, job_id=run, who=who, key=key).id)

    def _unfinished(self, run: str) -> RunStatus:
        status = self.status(run)
        if status.verdict is not None:
            raise Conflict(f"Run {run} has ended: {status.verdict}.")
        return status

    def _request(self, run: str) -> Request:
        lines = self.state.runs.lines([run])
        if not lines:
            raise NotFound(f"Run {run!r} does not exist.")
        return lines[0].request

    def _halt_job(self, run: str, what: Halt) -> None:
        """Stop the job of a run, if it has one that is not over."""
        if self.jobs.find(run) is not None:
            with contextlib.suppress(Conflict):
                self.jobs.halt(run, what)


def _cancelled(request: Request, run: str, state: State) -> VerdictKind | None:
    """End a run that nobody works on; its verdict, None where somebody does, who is asked to end it."""
    from agent.runs import Desk, cancel_run

    def open_desk() -> Desk:
        from agent.checkpointer import RedisCheckpointer

        return Desk(state.runs, RedisCheckpointer(state.client))

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=LIBRARIES)
        told = cancel_run(request, run, store=state.runs, open_desk=open_desk, emit=state.events)
    return None if told is None else told.verdict


def _order_of(request: Request) -> NameOrder | ForkJob:
    """What was asked for, as a job says it; the run itself goes by its request."""
    fork, limits = request.fork, request.settings.limits
    if fork is not None:
        return ForkJob(
            fork=ForkOrder(run=fork.origin.run, step=fork.origin.step, add=fork.add, drop=fork.drop)
        )
    kind = request.proposer.partition(":")[0]
    return NameOrder.model_validate(
        {
            "feature": str(request.feature),
            "proposer": kind if kind in PROPOSERS else None,
            "max_images": max(8, limits.images),
            "cost_limit": limits.usd or 0.0,
            "seed": request.settings.seed,
            "review": request.settings.review,
        }
    )


def _fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where} {fault['msg'].removeprefix('Value error, ')}".strip()[:200].rstrip(".")
