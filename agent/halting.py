"""Runs that are asked to stop: pause them to be continued, or cancel them for good, after the step in
progress."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Literal, NamedTuple

from agent.records import Explanation
from tools.errors import NamesaeError

if TYPE_CHECKING:
    from agent.graph import RunControl
    from agent.request import Request
    from agent.state import NamingState

Halt = Literal["pause", "cancel"]
Halted = Callable[[], Halt | None]
"""Says what the run at work is asked to do, as often as it is called."""

POLL_S = 0.2
CANCELLED = "on_request"
"""Code of a run that was cancelled."""


class Drained(NamesaeError):
    """The run was asked to stop and stopped after a step; the same command continues it."""

    exit_code = 128 + signal.SIGTERM


class SignalNote:
    """A signal handler that takes note, so that who works under it can stop in order; runs hand on to it."""

    def __init__(self) -> None:
        self.number: int | None = None
        """The first signal received."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number


class Cancelled(NamesaeError):
    """The run was cancelled, and stopped after a step."""

    def __init__(self, run: str, state: NamingState | None) -> None:
        super().__init__(f"Run {run} was cancelled.")
        self.state = state
        """Of its last step; None where it never began."""


class _Asked(NamedTuple):
    """Who had the ideas of a run, and has no part in its end."""

    name: str
    paid: bool = False


def not_asked() -> None:
    """Nobody asks for anything."""


@contextlib.contextmanager
def drained_when(halted: Halted, control: RunControl) -> Iterator[None]:
    """While inside, ``halted`` is asked a few times a second; once it says something the step in progress is
    the last one."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(POLL_S):
            # What cannot be asked now is asked again: the run itself says when its store has gone.
            with contextlib.suppress(Exception):
                if halted() is not None:
                    control.request_drain("halt")
                    return

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


@contextlib.contextmanager
def drained_by_sigterm(control: RunControl) -> Iterator[None]:
    """While inside, SIGTERM lets the step in progress finish; elsewhere than in the main thread, nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def drain(number: int, frame: FrameType | None) -> None:
        control.request_drain("SIGTERM")
        if isinstance(before, SignalNote):
            before(number, frame)

    before = signal.signal(signal.SIGTERM, drain)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def cancelled_explanation(
    request: Request, run: str, *, state: NamingState | None, now: float
) -> Explanation:
    """What is recorded of a run that was cancelled: no name, and all that it did until then.

    ``state``: of its last step, None where it never began. ``now``: seconds since the epoch.
    """
    from agent.recording import dated, explain

    told = Explanation(
        feature=request.feature,
        name=None,
        verdict="cancelled",
        confidence=0.0,
        proposer=request.proposer,
        run=run,
        created=dated(now),
    )
    if state is not None and "facts" in state:
        told = explain(state, proposer=_Asked(request.proposer), now=now)
    ended: dict[str, object] = {"name": None, "parts": (), "verdict": "cancelled", "confidence": 0.0}
    return told.model_copy(update={**ended, "code": CANCELLED})
