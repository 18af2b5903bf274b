"""The worker's side of the queue: a job is leased to one worker, which says now and then that it lives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from namesae.service import job_scripts
from namesae.service.job_records import Halt, Job, JobState
from namesae.service.orders import Order
from tools import keys
from tools.claims import TTL_S, is_dead, new_token
from tools.errors import IntegrityError, NamesaeError

if TYPE_CHECKING:
    import redis

MOST_TRIES = 3
"""Workers that may die over a job before it has come any further."""
MOST_SAID = 500
"""Characters of an error."""
CLAIMS = "job"
"""Kind of the claims that leases are."""
_POLL_S = 0.1
SWEEP_S = 1.0
"""Seconds between two looks for workers that are gone."""
_POISON = f"{MOST_TRIES} workers died over it in one place; see what the last one said, then resume it."
_FIELDS = (
    "order",
    "who",
    "state",
    "asked",
    "began",
    "ended",
    "halt",
    "tries",
    "error",
    "exit_code",
    "worker",
)
_ORDER: TypeAdapter[Order] = TypeAdapter(Order)
_T = TypeVar("_T")


class LeaseLost(NamesaeError):
    """The job was taken from this worker, which had been silent for too long."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"Job {job_id} was taken by another worker; this one had not been heard of for too long."
        )


class JobLeases:
    """Jobs taken, and given back. A worker uses an object of its own."""

    def __init__(self, client: redis.Redis, *, lease_s: float = TTL_S, sweep_s: float = SWEEP_S) -> None:
        self.client, self.lease_s, self._sweep_s = client, lease_s, sweep_s
        self._leases: dict[str, bytes] = {}
        """Of the jobs this object took, by id."""
        self._swept = 0.0

    def take(self, worker: str, *, wait_s: float) -> Job | None:
        """Lease the next job to ``worker`` (HOST:PID), waiting up to ``wait_s`` for one; None when none came.

        Jobs of workers that died are put at the head of the queue first.
        """
        deadline = time.monotonic() + wait_s
        while True:
            self._sweep()
            job = self._taken(worker)
            if job is not None or time.monotonic() >= deadline:
                return job
            time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))

    def beat(self, job_id: str) -> Halt | None:
        """Say that the worker lives; what the job is asked to do. LeaseLost where it is another's by now."""
        where = (keys.job(job_id), keys.claim(CLAIMS, job_id))
        told = self._run(job_scripts.BEAT, where, self._lease(job_id), int(self.lease_s * 1000))
        if told is None:
            raise LeaseLost(job_id)
        return cast("Halt | None", cast(bytes, told).decode() or None)

    def moved_on(self, job_id: str) -> None:
        """The job came further than its last worker did: the count of tries begins anew."""
        self._run(job_scripts.MOVED_ON, (keys.job(job_id),), self._lease(job_id))

    def leave(
        self, job_id: str, state: JobState, *, error: str | None = None, exit_code: int | None = None
    ) -> None:
        """End a job, or its part of it: *ended*, *failed*, *waiting* for a person, *paused*, *cancelled*, or
        *queued*, which is the head of the queue.

        ``error``: in one sentence, where something was left undone. LeaseLost where it is another's by now.
        """
        where = (keys.job(job_id), keys.claim(CLAIMS, job_id), keys.taken(), keys.queue())
        code = "" if exit_code is None else exit_code
        said, now = (error or "")[:MOST_SAID], repr(time.time())
        done = self._run(job_scripts.LEAVE, where, job_id, self._lease(job_id), state, now, said, code)
        self._leases.pop(job_id, None)
        if not done:
            raise LeaseLost(job_id)

    def _taken(self, worker: str) -> Job | None:
        """The job at the head, leased; tried again where another worker was quicker."""
        while (head := cast("bytes | None", self.client.lindex(keys.queue(), 0))) is not None:
            job_id, lease = head.decode(), new_token()
            where = (keys.job(job_id), keys.claim(CLAIMS, job_id), keys.queue(), keys.taken())
            limit = int(self.lease_s * 1000)
            if self._run(job_scripts.TAKE, where, job_id, worker, lease, limit, repr(time.time())):
                self._leases[job_id] = lease
                return self._held(job_id)
        return None

    def _held(self, job_id: str) -> Job | None:
        """The job just taken; one that this version cannot read fails, and keeps nobody."""
        try:
            return find_job(self.client, job_id)
        except IntegrityError as error:
            self.leave(job_id, "failed", error=str(error), exit_code=error.exit_code)
            return None

    def _sweep(self) -> None:
        """Queue the jobs of workers that are gone."""
        if time.monotonic() - self._swept < self._sweep_s:
            return
        self._swept = time.monotonic()
        ids = [each.decode() for each in cast("list[bytes]", self.client.zrange(keys.taken(), 0, -1))]
        claims = [keys.claim(CLAIMS, each) for each in ids]
        holders = cast("list[bytes | None]", self.client.mget(claims)) if claims else []
        for job_id, holder in zip(ids, holders, strict=True):
            if holder is None or is_dead(holder):
                where = (keys.job(job_id), keys.claim(CLAIMS, job_id), keys.taken(), keys.queue())
                now = repr(time.time())
                self._run(job_scripts.LOSE, where, job_id, holder or b"", MOST_TRIES, now, _POISON)

    def _lease(self, job_id: str) -> bytes:
        return self._leases.get(job_id, b"none of ours")

    def _run(self, script: str, where: Sequence[str], *arguments: str | bytes | int) -> Any:
        return self.client.eval(script, len(where), *where, *arguments)


def find_job(client: redis.Redis, job_id: str) -> Job | None:
    """One job, if there is one; IntegrityError for a record of another version."""
    return read_job(job_id, cast("list[bytes | None]", client.hmget(keys.job(job_id), _FIELDS)))


def ask_for_job(pipe: redis.Redis, job_id: str) -> None:
    """Queue the command whose answer ``read_job`` reads."""
    pipe.hmget(keys.job(job_id), _FIELDS)


def read_job(job_id: str, held: Sequence[bytes | None]) -> Job | None:
    """A job from the fields of its hash; None where there is none."""
    told = {name: each.decode() for name, each in zip(_FIELDS, held, strict=True) if each is not None}
    if "order" not in told:
        return None
    try:
        order = _ORDER.validate_json(told.pop("order"))
        return Job.model_validate({**told, "id": job_id, "order": order})
    except ValidationError as error:
        raise IntegrityError(
            f"Job {job_id} was recorded by another version of namesae; ask for it again."
        ) from error
