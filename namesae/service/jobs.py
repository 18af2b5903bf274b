"""The queue: what was asked for, in order, until a worker has done it; nothing accepted is ever lost.

A job that a worker took is leased to it. Where the worker dies the job goes back to the head of the queue: at
once where both are on one machine, else when the lease runs out. A worker that lost its lease can change
nothing any more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from namesae.service import job_scripts
from namesae.service.errors import Conflict, NotFound, QueueFull
from namesae.service.job_leases import SWEEP_S, JobLeases, ask_for_job, find_job, read_job
from namesae.service.job_records import Halt, Job, JobState
from namesae.service.orders import Order
from sae.feature import Frozen
from tools import keys
from tools.claims import TTL_S
from tools.digest import digest
from tools.errors import IntegrityError

if TYPE_CHECKING:
    import redis

MOST_WAITING = 1000
"""Jobs in the queue; more are refused."""
RETRY_AFTER_S = 10
KEPT_S = 24 * 3600
"""How long an Idempotency-Key is remembered."""
_OVER = ("paused", "ended", "failed", "cancelled")
"""States from which the same order puts a job into the queue again."""


class Answered(Frozen):
    """What a request with an Idempotency-Key was, and what answers it."""

    body: str
    """Digest of the order."""
    id: str
    """Of the job; of the run for a stored answer."""
    stored: bool = False


class Jobs(JobLeases):
    """All jobs of the store: put and stopped by whoever asks, taken and ended by workers."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        lease_s: float = TTL_S,
        sweep_s: float = SWEEP_S,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        super().__init__(client, lease_s=lease_s, sweep_s=sweep_s)
        self.most_waiting = most_waiting

    def put(self, order: Order, *, job_id: str, who: str, key: str | None = None) -> Job:
        """Accept an order; it is on record when this returns.

        A job of the same id that is not over is joined. ``key``: of the request; the same one by ``who``
        within a day is answered with the same job. Conflict where that was another order; QueueFull.
        """
        self._refuse_other(order, job_id)
        again = (*_OVER, "waiting") if order.kind == "rule" else _OVER
        body = _body(order)
        answer = "" if key is None else Answered(body=body, id=job_id).model_dump_json()
        slot = keys.job(job_id) if key is None else keys.idempotency(who, key)
        said, more = self._run(
            job_scripts.PUT,
            (keys.job(job_id), keys.queue(), keys.jobs(), slot),
            job_id,
            order.model_dump_json(),
            who,
            repr(time.time()),
            self.most_waiting,
            f" {' '.join(again)} ",
            answer,
            KEPT_S,
        )
        if said == b"full":
            raise QueueFull(int(more), retry_after_s=RETRY_AFTER_S)
        return self.get(_same(more, body).id if said == b"kept" else job_id)

    def recall(self, order: Order, *, who: str, key: str | None) -> Answered | None:
        """What answered the request with this key, if one did; Conflict where that was another order."""
        told = None if key is None else self.client.get(keys.idempotency(who, key))
        return None if told is None else _same(cast(bytes, told), _body(order))

    def remember(self, order: Order, run: str, *, who: str, key: str | None) -> None:
        """That a stored answer, which needs no job, was given to the request with this key."""
        if key is not None:
            answer = Answered(body=_body(order), id=run, stored=True)
            self.client.set(keys.idempotency(who, key), answer.model_dump_json(), ex=KEPT_S, nx=True)

    def require_room(self) -> None:
        """QueueFull where no job can be put."""
        if (waiting := self.waiting()) >= self.most_waiting:
            raise QueueFull(waiting, retry_after_s=RETRY_AFTER_S)

    def halt(self, job_id: str, what: Halt) -> Job:
        """Stop a job: at once where nobody works on it, else after the step in progress.

        A job that is to be cancelled stays so. NotFound; Conflict where there is nothing to stop.
        """
        where = (keys.job(job_id), keys.queue())
        done = self._run(job_scripts.HALT, where, job_id, what, repr(time.time()))
        job = self.get(job_id)
        if not done:
            raise Conflict(f"Job {job_id} is {job.state}, so there is nothing to {what}.")
        return job

    def resume(self, job_id: str) -> Job:
        """Queue a paused or failed job again; NotFound, QueueFull, Conflict where it is neither."""
        done = self._resumed(job_id, " paused failed ", most=self.most_waiting)
        job = self.get(job_id)
        if done < 0:
            raise QueueFull(self.waiting(), retry_after_s=RETRY_AFTER_S)
        if not done:
            said = "is being cancelled" if job.state == "running" else f"is {job.state}"
            raise Conflict(f"Job {job_id} {said}, so there is nothing to resume.")
        return job

    def wake(self, job_id: str) -> None:
        """Queue a job that waited for a person; nothing where it waits no longer."""
        self._resumed(job_id, " waiting ", most=2 * self.most_waiting)

    def get(self, job_id: str) -> Job:
        """One job; NotFound."""
        found = self.find(job_id)
        if found is None:
            raise NotFound(f"Job {job_id!r} does not exist.")
        return found

    def find(self, job_id: str) -> Job | None:
        """One job, if there is one."""
        return find_job(self.client, job_id)

    def list(
        self,
        *,
        kind: str | None = None,
        state: JobState | None = None,
        limit: int = 50,
        before: float | None = None,
    ) -> tuple[Job, ...]:
        """Jobs, the one asked for last first; ``before``: asked for earlier, seconds since the epoch."""
        found: list[Job] = []
        highest, start, page = "+inf" if before is None else f"({before!r}", 0, max(limit, 50)
        while len(found) < limit and (ids := self._page(highest, start, page)):
            start += len(ids)
            found += [job for job in self._read(ids) if kind in (None, job.order.kind)]
            found = [job for job in found if state in (None, job.state)]
        return tuple(found[:limit])

    def waiting(self) -> int:
        """Jobs in the queue."""
        return int(self.client.llen(keys.queue()))

    def _resumed(self, job_id: str, states: str, *, most: int) -> int:
        where = (keys.job(job_id), keys.queue())
        return int(self._run(job_scripts.RESUME, where, job_id, most, states))

    def _page(self, highest: str, start: int, count: int) -> Sequence[str]:
        told = self.client.zrevrangebyscore(keys.jobs(), highest, "-inf", start=start, num=count)
        return [each.decode() for each in cast("list[bytes]", told)]

    def _read(self, ids: Sequence[str]) -> Sequence[Job]:
        with self.client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                ask_for_job(pipe, job_id)
            held = pipe.execute()
        found: list[Job] = []
        for job_id, fields in zip(ids, held, strict=True):
            # One that another version wrote keeps no list from being read.
            with contextlib.suppress(IntegrityError):
                found += [job for job in (read_job(job_id, fields),) if job is not None]
        return found

    def _refuse_other(self, order: Order, job_id: str) -> None:
        """Two evaluations of one name share a folder, which holds the cells of one suite."""
        held = self.find(job_id) if order.kind == "eval" else None
        if held is not None and held.state in ("queued", "running") and held.order != order:
            raise Conflict(f"Job {job_id} is {held.state} and was asked for otherwise; choose another id.")


def _body(order: Order) -> str:
    return digest(order=order.model_dump(mode="json"))


def _same(told: bytes, body: str) -> Answered:
    """What was answered under a key; Conflict where it was another order."""
    try:
        kept = Answered.model_validate_json(told)
    except ValidationError as error:
        raise IntegrityError(
            "This Idempotency-Key was recorded by another version of namesae; choose another one."
        ) from error
    if kept.body != body:
        raise Conflict("This Idempotency-Key was given with another order; choose a new key for each order.")
    return kept
