"""The LLM of a conversation: messages to the wire, replies into the ledger. Imports no openai."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from agent.ask_records import Call, Said
from agent.budget import Usage
from agent.llm import Endpoint, ToolCall, ToolReply
from agent.openai_proposer import ReplyLedger
from tools.digest import digest

ASK = "ask"
"""Kind of the ledger's records."""
MOST_CALLS = 8
"""Tool calls of one reply that are heard."""
MAX_TEXT = 8000
"""Characters of a reply's text, or of one call's arguments, that are kept."""

_ODD = re.compile(r"[^a-zA-Z0-9_-]")
"""What servers do not take in the name of a tool."""


class SpeaksTools(Protocol):
    """One LLM that may call tools (agent.llm.Chat)."""

    @property
    def endpoint(self) -> Endpoint: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def sees(self) -> bool: ...
    def tools_turn(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]
    ) -> ToolReply: ...


class Heard(NamedTuple):
    """A reply, and whether it came from the ledger."""

    reply: ToolReply
    recorded: bool


class Speaker:
    """Asks an endpoint; the same transcript with the same tools is paid for once."""

    def __init__(
        self,
        chat: SpeaksTools,
        *,
        ledger: ReplyLedger | None = None,
        png: Callable[[str], bytes] | None = None,
    ) -> None:
        """``png``: picture id to PNG bytes; without it no picture is sent."""
        self._chat, self._ledger, self._png = chat, ledger, png
        self.model = chat.endpoint.model
        self.sees = chat.sees and png is not None
        self.priced = chat.endpoint.price is not None

    @property
    def fingerprint(self) -> str:
        """Digest of what determines a reply, but for the messages."""
        return digest(chat=self._chat.fingerprint, sees=self.sees)

    def turn(self, system: str, said: Sequence[Said], *, tools: Sequence[dict[str, Any]]) -> Heard:
        """One exchange, from the ledger where it was had before. DependencyError as ``tools_turn`` raises it.

        A reply with a fault is not recorded: the next try asks again.
        """
        messages = [{"role": "system", "content": system}, *(_wire(each, png=None) for each in said)]
        key = digest(speaker=self.fingerprint, messages=messages, tools=list(tools))
        held = self._ledger.get(ASK, key) if self._ledger else None
        if held is not None:
            return Heard(_read(held), True)
        png = self._png if self.sees else None
        sent = [messages[0], *(_wire(each, png=png) for each in said)]
        reply = _cleaned(self._chat.tools_turn(sent, tools))
        if self._ledger is not None and reply.fault is None:
            return Heard(_read(self._ledger.put(ASK, key, _written(reply))), False)
        return Heard(reply, False)


def sendable(arguments: str) -> bool:
    """Whether arguments are a JSON object: servers reject a transcript in which they are not."""
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False


def _wire(said: Said, *, png: Callable[[str], bytes] | None) -> dict[str, Any]:
    """A message as chat.completions takes it; its pictures stand as their ids where ``png`` is None."""
    if said.role == "tool":
        return {"role": "tool", "tool_call_id": said.call, "content": said.text}
    if said.calls:
        return {
            "role": "assistant",
            "content": said.text or None,
            "tool_calls": [_wire_call(each) for each in said.calls],
        }
    if not said.pictures:
        return {"role": said.role, "content": said.text}
    parts: list[dict[str, Any]] = [{"type": "text", "text": said.text}]
    for picture in said.pictures:
        url = f"image:{picture}" if png is None else _data_url(png(picture))
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return {"role": said.role, "content": parts}


def _wire_call(call: Call) -> dict[str, Any]:
    arguments = call.arguments if sendable(call.arguments) else "{}"
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _cleaned(reply: ToolReply) -> ToolReply:
    """Bounded, and without what UTF-8 cannot write: it is stored, sent back and shown."""
    calls = tuple(
        ToolCall("", _ODD.sub("_", each.name)[:60] or "_", _text(each.arguments)[:MAX_TEXT])
        for each in reply.calls[:MOST_CALLS]
    )
    return reply._replace(text=_text(reply.text)[:MAX_TEXT], calls=calls)


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _written(reply: ToolReply) -> bytes:
    told = {
        **reply._asdict(),
        "calls": [each._asdict() for each in reply.calls],
        "usage": reply.usage.model_dump(mode="json"),
    }
    return json.dumps(told).encode()


def _read(held: bytes) -> ToolReply:
    told = json.loads(held)
    calls = tuple(ToolCall(**each) for each in told["calls"])
    return ToolReply(**{**told, "calls": calls, "usage": Usage.model_validate(told["usage"])})
