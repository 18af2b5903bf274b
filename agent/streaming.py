"""Replies heard while they come: pieces of text as events, a few a second, which the whole reply replaces."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from agent.events import Event, EventSink, Streamed
from agent.llm_reading import Hear
from agent.proposer import Proposer

EVERY_S = 0.3
"""Seconds between two pieces that are told."""
MAX_HEARD = 20_000
"""Characters of one reply that are told while it comes."""


class Voice:
    """One reply after another, in pieces; used as a context around each."""

    def __init__(
        self,
        tell: Callable[[Streamed], None] | None = None,
        *,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell, self._every_s, self._clock = tell, every_s, clock
        self._begin()

    @property
    def heard(self) -> Hear | None:
        """What to call with each piece; None where nobody listens, and no stream need be asked for."""
        return None if self._tell is None else self._piece

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tell is not None and self._said:
            self._tell(Streamed(text=self._waiting, done=True))

    def _begin(self) -> None:
        self._waiting, self._said, self._at = "", 0, self._clock() - self._every_s

    def _piece(self, text: str) -> None:
        assert self._tell is not None
        text = text[: max(0, MAX_HEARD - self._said)]
        self._said += len(text)
        self._waiting += text
        now = self._clock()
        if self._waiting and now - self._at >= self._every_s:
            self._tell(Streamed(text=self._waiting))
            self._waiting, self._at = "", now


def hushed(round_number: int) -> Voice:
    """The voice that nobody hears."""
    return Voice()


@runtime_checkable
class CanBeHeard(Protocol):
    """A proposer whose replies come in pieces."""

    def heard_by(self, voice: Callable[[int], Voice]) -> Proposer:
        """The same proposer; ``voice`` makes one for a round."""
        ...


def audible(proposer: Proposer, run: str, *, emit: EventSink, clock: Callable[[], float]) -> Proposer:
    """The proposer, with the pieces of its replies told as events of a run; ``clock``: since the epoch."""
    if not isinstance(proposer, CanBeHeard):
        return proposer

    def voice(number: int) -> Voice:
        def tell(piece: Streamed) -> None:
            emit(Event(run=run, at=clock(), node="propose", round=number, what=piece))

        return Voice(tell)

    return proposer.heard_by(voice)


def settled(events: Iterable[Event]) -> tuple[Event, ...]:
    """The events without pieces of replies that came whole; what a reply not yet whole says so far is one."""
    kept: list[Event] = []
    for event in events:
        last = kept[-1] if kept else None
        if last is not None and isinstance(last.what, Streamed):
            kept.pop()
            if isinstance(event.what, Streamed) and not last.what.done:
                text = last.what.text + event.what.text
                event = event.model_copy(update={"what": Streamed(text=text, done=event.what.done)})
        kept.append(event)
    return tuple(kept)
