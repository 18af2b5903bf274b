"""Why a worker should stop what it does: a signal, or what its job is asked to do."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator

from agent.halting import Halt
from namesae.service.job_leases import JobLeases, LeaseLost
from namesae.stopping import Stop

POLL_S = 0.25
"""Seconds between two looks at what a job is asked to do; each says that the worker lives, too."""

log = logging.getLogger(__name__)


class JobStop(Stop):
    """What a job is asked to do, and whether its worker is to leave. Safe to read from several threads."""

    def __init__(self, worker: Stop) -> None:
        self._worker = worker
        self.halt: Halt | None = None
        self.lost = False
        """Whether another worker has the job by now."""

    @property
    def leaving(self) -> bool:
        """Whether the worker was told to leave."""
        return self._worker.number is not None

    @property
    def number(self) -> int | None:  # type: ignore[override]
        """A signal, or one in the place of what the job is asked to do."""
        asked = self.halt is not None or self.lost
        return self._worker.number or (signal.SIGTERM if asked else None)

    def asked(self) -> Halt | None:
        """What a run in progress has to do at its next step."""
        return self.halt or ("pause" if self.number is not None else None)


@contextlib.contextmanager
def kept_alive(jobs: JobLeases, job_id: str, stop: JobStop, *, poll_s: float = POLL_S) -> Iterator[None]:
    """While inside, the lease of a job is renewed, and ``stop`` told what the job is asked to do."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(poll_s):
            try:
                stop.halt = jobs.beat(job_id)
            except LeaseLost:
                stop.lost = True
                return
            except Exception as error:  # noqa: BLE001 - a store that is away now is asked again
                log.debug("no answer from the queue: %s", error)
                time.sleep(poll_s)

    stop.halt = jobs.beat(job_id)
    thread = threading.Thread(target=beat, name="job-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
