"""A conversation that ``namesae ask`` had, as it was recorded. Imports no graph and no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from agent.ask_events import Answered, Questioned
from namesae.ask_reporters import answer_lines
from namesae.lines import timed_line

if TYPE_CHECKING:
    from agent.events import Event
    from namesae.ask_reporters import PathOf
    from namesae.wiring import State


def events_of_conversation(thread: str, state: State) -> list[Event]:
    """All that happened in it, oldest first; empty where it is no conversation but a run, or nothing."""
    if "#" in thread or state.runs.row(thread) is not None:
        return []
    events = [entry.event for entry in state.events.read(thread)]
    return events if any(isinstance(each.what, Questioned) for each in events) else []


def conversation_lines(events: Iterable[Event], path: PathOf) -> Iterable[str]:
    """Questions, tool calls and LLM calls, a line each; answers whole, with what they cite."""
    for event in events:
        if isinstance(event.what, Answered) and event.what.answer.text is not None:
            yield ""
            yield from answer_lines(event.what.answer, path)
            yield ""
        else:
            yield timed_line(event)
