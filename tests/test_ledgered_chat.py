"""Replies that are recorded: asked once, with what they cost."""

from __future__ import annotations

from typing import Any

import pytest

from agent.ledgered_chat import LedgeredChat
from agent.llm import Chat, Endpoint
from agent.prices import Price
from agent.prompting import Message
from tests.fake_openai_server import FakeOpenAI, Fault, status
from tools.errors import DependencyError
from tools.ledger import Ledger

SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def asked(text: str) -> list[Message]:
    return [Message(role="user", text=text)]


def test_the_same_question_is_paid_for_once(redis: Any) -> None:
    server = FakeOpenAI(lambda body: {"n": len(body["messages"])})
    with server.serve() as url:
        endpoint = Endpoint(model="m", base_url=url, price=Price(prompt=1.0, completion=2.0))
        chat = LedgeredChat(Chat(endpoint, api_key="key"), Ledger(redis))
        first = chat.ask(asked("one"), SCHEMA)
        again = LedgeredChat(Chat(endpoint, api_key="other"), Ledger(redis)).ask(asked("one"), SCHEMA)
        assert again == first and first.usage.usd and first.usage.calls == 1
        assert len(server.requests) == 1
        chat.ask(asked("two"), SCHEMA)
        chat.ask(asked("one"), {**SCHEMA, "title": "other"})
        other = Chat(endpoint.model_copy(update={"model": "n"}), api_key="key")
        LedgeredChat(other, Ledger(redis)).ask(asked("one"), SCHEMA)
        assert len(server.requests) == 4


def test_what_cannot_be_used_is_asked_again(redis: Any) -> None:
    server = FakeOpenAI(lambda body: "{}")
    with server.serve() as url:
        endpoint = Endpoint(model="m", base_url=url, retries=0)
        chat = LedgeredChat(Chat(endpoint, api_key="key"), Ledger(redis))
        server.faults = [Fault("null"), status(500)]
        assert chat.ask(asked("one"), SCHEMA).fault is not None
        with pytest.raises(DependencyError):
            chat.ask(asked("one"), SCHEMA)
        assert chat.ask(asked("one"), SCHEMA).text == "{}"
        assert len(server.requests) == 3
