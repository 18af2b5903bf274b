"""What was said to an LLM in a run and back, as a file that can be replayed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agent.events import Asked
from agent.replay import Conversation, Heading, distinct, write_conversation
from namesae.told_conversations import events_of_conversation
from namesae.traces import find_run
from namesae.wiring import open_state
from tools.errors import UsageError

if TYPE_CHECKING:
    from namesae.settings import Settings


def save_conversation(run: str, settings: Settings, *, path: Path) -> None:
    """Write the exchanges of a run, by its id or by DICTIONARY#INDEX; UsageError where there are none."""
    with open_state(settings) as state:
        if events_of_conversation(run, state):
            raise UsageError(f"{run} is a conversation of namesae ask; only what a run said can be replayed.")
        row = find_run(run, state, settings=settings)
        events = [entry.event for entry in state.events.read(row.run)]
    calls = distinct(event.what.call for event in events if isinstance(event.what, Asked))
    if not calls:
        raise UsageError(f"No LLM was asked in run {row.run}: there is no conversation to write.")
    heading = Heading(
        schema=1,
        run=row.run,
        feature=str(row.request.feature),
        proposer=row.request.proposer,
        settings=row.request.settings,
    )
    write_conversation(Conversation(heading, calls), path)
