"""Turns in which the model may call tools, over real HTTP."""

from __future__ import annotations

import json

from agent.llm import Chat, Endpoint, ToolCall
from tests.fake_openai_server import FakeOpenAI, Fault, completion

TOOLS = [{"type": "function", "function": {"name": "draw", "parameters": {"type": "object"}}}]
ASKED = [{"role": "user", "content": "stripes or zebra?"}]


def test_the_model_may_call_a_tool_and_then_answer() -> None:
    server = FakeOpenAI(lambda body: "stripes")
    call = {"id": "c1", "type": "function", "function": {"name": "draw", "arguments": '{"n": 1}'}}
    told = completion({"model": "m", "messages": ASKED}, "")
    told["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
    server.faults = [Fault("raw", json.dumps(told))]
    with server.serve() as url:
        chat = Chat(Endpoint(model="m", base_url=url, retries=0), api_key="k")
        first = chat.tools_turn(ASKED, TOOLS)
        assert first.calls == (ToolCall("c1", "draw", '{"n": 1}'),)
        assert (first.text, first.fault, first.usage.calls) == ("", None, 1)
        assert server.requests[0]["tools"] == TOOLS
        second = chat.tools_turn(
            [
                *ASKED,
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "fired"},
            ],
            TOOLS,
        )
    assert (second.text, second.calls, second.fault) == ("stripes", (), None)
