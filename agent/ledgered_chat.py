"""An LLM whose replies are recorded: the same question is paid for once, whatever was interrupted since."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from agent.budget import Usage
from agent.llm import Chat, Hear, Reply
from agent.prompting import Message
from tools.digest import digest
from tools.ledger import Ledger

CHAT = "chat"


class LedgeredChat:
    """A Chat that looks first whether it was asked the same before."""

    def __init__(self, chat: Chat, ledger: Ledger) -> None:
        self.endpoint = chat.endpoint
        self._chat, self._ledger = chat, ledger

    def ask(self, messages: Sequence[Message], schema: dict[str, Any], *, hear: Hear | None = None) -> Reply:
        """The recorded reply with what it cost then, else a new one; a reply with a fault is not recorded."""
        key = digest(
            model=self.endpoint.model,
            base_url=self.endpoint.base_url or "",
            messages=[message.model_dump(mode="json") for message in messages],
            schema=schema,
        )
        held = self._ledger.get(CHAT, key)
        if held is None:
            reply = self._chat.ask(messages, schema, hear=hear)
            if reply.fault is not None:
                return reply
            held = self._ledger.put(CHAT, key, _written(reply))
        return _read(held)


def _written(reply: Reply) -> bytes:
    return json.dumps({**reply._asdict(), "usage": reply.usage.model_dump(mode="json")}).encode()


def _read(held: bytes) -> Reply:
    told = json.loads(held)
    return Reply(**{**told, "usage": Usage.model_validate(told["usage"])})
