"""``namesae worker``: takes jobs from the queue, one at a time, and carries them out. Models load here."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from agent.halting import SignalNote
from namesae.models import Say
from namesae.service.job_records import Job
from namesae.service.job_runner import AWAY, AWAY_S, JobRunner
from namesae.service.jobs import Jobs
from namesae.settings import Settings
from namesae.stopping import SIGNALS, Interrupted, Stop
from namesae.wiring import open_state, quiet

WAIT_S = 0.5
"""How long it waits for a job before it looks whether to leave."""
ORPHAN_S = 1.0
"""A standard input that ends sooner than this after the start was nobody's."""


def run_worker(settings: Settings, *, stop: Stop, once: bool = False, say: Say = quiet) -> int:
    """Carry out jobs until ``stop`` says to leave; the exit code, 128 + n after signal n.

    The job in hand then goes back to the head of the queue after its step. ``once``: leave when nothing
    waits. Signals are heard where the caller has them noted (``noted_signals``).
    """
    name = f"{platform.node()}:{os.getpid()}"
    with open_state(settings) as state:
        jobs = Jobs(state.client)
        runner = JobRunner(settings, state, jobs=jobs, say=say)
        say(f"Worker {name} is ready; {jobs.waiting()} jobs wait.")
        while stop.number is None:
            try:
                job = jobs.take(name, wait_s=0.0 if once else WAIT_S)
                if job is None and once:
                    return 0
                if job is not None:
                    _carry_out(runner, job, stop=stop, say=say)
            except AWAY as error:
                say(f"The queue cannot be reached ({error}); trying again.")
                time.sleep(AWAY_S)
    return 128 + stop.number


def _carry_out(runner: JobRunner, job: Job, *, stop: Stop, say: Say) -> None:
    say(f"{job.order.kind} {job.id} begins.")
    ending = runner.carry_out(job, stop)
    if ending is not None:
        told = "goes back to the queue" if ending.state == "queued" else f"is {ending.state}"
        say(f"{job.order.kind} {job.id} {told}{f': {ending.error}' if ending.error else '.'}")


class _Noted(SignalNote, Stop):
    """The first signal is noted; the second stops at once, which loses nothing that is recorded."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise Interrupted(self.number)
        super().__call__(number, frame)


@contextlib.contextmanager
def noted_signals() -> Iterator[Stop]:
    """While inside, SIGINT and SIGTERM are noted; only in the main thread."""
    noted = _Noted()
    before = {number: signal.signal(number, noted) for number in SIGNALS}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_with_parent() -> None:
    """Where the standard input is a pipe, its end means that whoever started the worker has gone: leave."""
    if not stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        return
    began = time.monotonic()

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        if time.monotonic() - began > ORPHAN_S:
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
