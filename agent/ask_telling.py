"""What the event stream is told of a conversation: exchanges, tool calls, answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel

from agent.ask_events import ToolCalled
from agent.ask_records import Call, Said
from agent.ask_state import AskDesk, AskState
from agent.budget import Refusal
from agent.events import Event, Happening
from agent.llm import ToolReply
from agent.proposer import LlmCall
from agent.tool_kit import RefusedCall
from agent.tool_purse import Purse
from agent.tool_results import Figure, Picture
from sae.feature import Frozen

MAX_TOLD = 4000
"""Characters of a message that a trace keeps."""

Cited = TypeVar("Cited", Picture, Figure, Refusal)


def cited_in(result: object, kind: type[Cited]) -> list[Cited]:
    """Every picture or figure that stands anywhere in a result, in order."""
    if isinstance(result, kind):
        return [result]
    if isinstance(result, BaseModel):
        return cited_in([getattr(result, name) for name in type(result).model_fields], kind)
    if isinstance(result, list | tuple):
        return [found for part in result for found in cited_in(part, kind)]
    return []


def exchange(reply: ToolReply, said: Sequence[Said], *, desk: AskDesk, again: bool) -> LlmCall:
    """The exchange for the trace, with the messages that are new since the one before."""
    last = max((at for at, each in enumerate(said) if each.role == "assistant"), default=-1)
    earlier = [("earlier", f"{last + 1} messages, as told before")] if last >= 0 else []
    fresh = [(each.role, _trace_text(each)) for each in said[last + 1 :]]
    calls = "\n".join(f"{each.name}({each.arguments})" for each in reply.calls)
    return LlmCall(
        model=desk.speaker.model,
        mode="tools",
        messages=(*earlier, *fresh),
        reply="\n".join(each for each in (reply.text, calls) if each)[:MAX_TOLD],
        usage=reply.usage,
        seconds=round(reply.seconds, 3),
        fault=reply.fault,
        recorded=again,
    )


def _trace_text(said: Said) -> str:
    return "\n".join([said.text[:MAX_TOLD], *(f"image:{each}" for each in said.pictures)])


def called(call: Call, result: Frozen | RefusedCall, *, purse: Purse) -> ToolCalled:
    arguments, left = call.arguments[:MAX_TOLD], purse.images_left
    if isinstance(result, RefusedCall):
        return ToolCalled(tool=call.name, arguments=arguments, refused=str(result), images_left=left)
    return ToolCalled(
        tool=call.name,
        arguments=arguments,
        figures=tuple(cited_in(result, Figure)),
        pictures=tuple(cited_in(result, Picture)),
        not_drawn=tuple(cited_in(result, Refusal)),
        images_left=left,
    )


def tell(state: AskState, desk: AskDesk, purse: Purse, *, node: str, what: Happening) -> None:
    at, turn = desk.toolbox.clock(), purse.spent.rounds
    desk.toolbox.emit(Event(run=state["thread"], at=at, node=node, round=turn, what=what))
