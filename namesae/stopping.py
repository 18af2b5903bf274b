"""SIGINT and SIGTERM: the step in progress is finished, a second signal stops at once."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal stopped the work; what was recorded is kept. Not an Exception: nothing may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stop:
    """What was asked for by signals so far."""

    def __init__(self) -> None:
        self.number: int | None = None
        """The first signal received."""


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """While inside, signals stop the work in order; elsewhere than in the main thread, nothing changes.

    A run in progress has its own way to finish its step and asks for it by handling SIGTERM
    (``agent.runs.drained_by_sigterm``); SIGINT is handed on to it.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def at_once(number: int, frame: FrameType | None) -> None:
        stop.number = stop.number or number
        raise Interrupted(stop.number)

    def in_order(number: int, frame: FrameType | None) -> None:
        drain = signal.getsignal(signal.SIGTERM)
        if stop.number is not None or drain is at_once or not callable(drain):
            at_once(number, frame)
        stop.number = number
        sys.stderr.write("Stopping after the step in progress; once more stops at once.\n")
        if callable(drain):
            drain(signal.SIGTERM, frame)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, in_order)
    signal.signal(signal.SIGTERM, at_once)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
