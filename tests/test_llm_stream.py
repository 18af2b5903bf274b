"""Replies that come as streams, from servers that do it right and from servers that do not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm import Chat, Endpoint
from agent.llm_reading import Reader
from agent.llm_said import MAX_CALLS
from agent.prompting import Message
from tests.fake_openai_server import FakeOpenAI, Fault, ToolCalls, completion, stream_of
from tools.errors import DependencyError

ASK = (Message(role="user", text="u"),)
TEXT = "It is striped, and it is a fish. \N{TROPICAL FISH}"
BODY = {"model": "m", "messages": [{"role": "user", "content": "u"}]}
LINES = stream_of(completion(BODY, TEXT), piece=5)


@pytest.fixture
def server() -> FakeOpenAI:
    return FakeOpenAI(lambda body: TEXT)


@pytest.fixture
def url(server: FakeOpenAI) -> Iterator[str]:
    Chat.forget_modes()
    with server.serve() as address:
        yield address


def chat(url: str, **changes: Any) -> Chat:
    options = {"model": "m", "base_url": url, "timeout_s": 5.0, "retries": 0, **changes}
    return Chat(Endpoint(**options), api_key="k")


def chunk(delta: dict[str, Any], *, finish: str | None = None, **more: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'id': 'c', 'choices': [choice], **more})}\n\n"


def test_a_reply_is_heard_while_it_comes_and_counted_all_the_same(server: FakeOpenAI, url: str) -> None:
    pieces: list[str] = []
    streamed = chat(url).ask(ASK, {}, hear=pieces.append)
    whole = chat(url).ask(ASK, {})
    assert "".join(pieces) == streamed.text == whole.text == TEXT
    assert len(pieces) > 4
    assert streamed.usage == whole.usage and streamed.usage.prompt_tokens is not None
    assert (streamed.fault, streamed.mode) == (None, "json_schema")
    assert server.requests[0]["stream_options"] == {"include_usage": True}
    assert "stream" not in server.requests[1]


@pytest.mark.parametrize(
    ("unknown", "fields"),
    [
        ({"stream_options"}, [{"stream", "stream_options"}, {"stream"}, {"stream"}]),
        ({"stream"}, [{"stream", "stream_options"}, set(), set()]),
    ],
)
def test_a_server_that_knows_no_streams_is_asked_without_once(
    unknown: set[str], fields: list[set[str]], server: FakeOpenAI, url: str
) -> None:
    server.unknown = unknown
    pieces: list[str] = []
    for _ in range(2):
        reply = chat(url).ask(ASK, {}, hear=pieces.append)
        assert (reply.text, reply.mode) == (TEXT, "json_schema")
    assert "".join(pieces) == TEXT * 2
    assert [set(body) & {"stream", "stream_options"} for body in server.requests] == fields


def test_a_server_that_refuses_without_a_word_is_asked_plainly_in_the_end(
    url: str, server: FakeOpenAI
) -> None:
    def picky(body: dict[str, Any]) -> str:
        return TEXT

    server.rule, server.faults = picky, [Fault("status", 400)] * 3
    reply = chat(url).ask(ASK, {}, hear=lambda piece: None)
    assert (reply.text, reply.mode) == (TEXT, "json_schema")
    assert [("stream" in body) for body in server.requests] == [True, True, True, False]


def test_who_may_not_stream_does_not(server: FakeOpenAI, url: str) -> None:
    chat(url, streams=False).ask(ASK, {}, hear=lambda piece: None)
    assert "stream" not in server.requests[0]


WELL = {
    "a whole completion instead": [json.dumps(completion(BODY, TEXT))],
    "windows line ends": [line.replace("\n", "\r\n") for line in LINES],
    "no blank lines": [line.replace("\n\n", "\n") for line in LINES],
    "no space after data": [line.replace("data: ", "data:") for line in LINES],
    "comments and names": [": keep-alive\n\n", *[f"event: chunk\nretry: 3\n{line}" for line in LINES]],
    "nothing after the end is read": [*LINES, chunk({"content": "more"}), "data: [DONE]\n\n"],
    "all of it once more": [
        *LINES[:-1],
        f"data: {json.dumps({'choices': [{'index': 0, 'message': {'content': TEXT}}]})}\n\n",
        LINES[-1],
    ],
    "an event said twice under its id": [
        f"id: {at}\n{line}" for at in range(len(LINES)) for line in (LINES[at],) * 2
    ],
    "usage in every piece": [
        line.replace('"choices"', '"usage": {"prompt_tokens": 1, "completion_tokens": 1}, "choices"')
        if '"usage"' not in line
        else line
        for line in LINES
    ],
    "parts instead of text": [
        chunk({"content": [{"type": "text", "text": TEXT[:9]}, {"type": "image"}]}),
        chunk({"content": [{"type": "text", "text": TEXT[9:]}]}, finish="stop"),
    ],
    "no DONE, but a reason to finish": [*LINES[:-2]],
    "another choice beside it": [
        LINES[0],
        'data: {"choices": [{"index": 1, "delta": {"content": "no"}}]}\n\n',
        *LINES[1:],
    ],
}


@pytest.mark.parametrize("kind", WELL)
def test_a_stream_in_a_dialect_is_understood(kind: str, server: FakeOpenAI, url: str) -> None:
    server.faults = [Fault("stream", WELL[kind])]
    reply = chat(url).ask(ASK, {}, hear=lambda piece: None)
    assert (reply.text, reply.fault) == (TEXT, None)
    if kind == "usage in every piece":
        assert reply.usage.completion_tokens == len(TEXT) // 4


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "text/html"])
def test_a_wrong_content_type_is_no_matter(kind: str, server: FakeOpenAI, url: str) -> None:
    server.faults = [Fault("stream", LINES, {"content-type": kind})]
    assert chat(url).ask(ASK, {}, hear=lambda piece: None).text == TEXT


def test_halves_of_a_letter_are_put_together(server: FakeOpenAI, url: str) -> None:
    halves = [
        r'data: {"choices": [{"delta": {"content": "\ud83d"}}]}',
        r'data: {"choices": [{"delta": {"content": "\udc20!\ud800"}}]}',
    ]
    server.faults = [Fault("stream", [f"{line}\n\n" for line in halves] + ["data: [DONE]\n\n"])]
    heard: list[str] = []
    text = chat(url).ask(ASK, {}, hear=heard.append).text
    assert all(piece.encode() for piece in heard)
    assert text.startswith("\N{TROPICAL FISH}!") and text.encode()


ILL = {
    "cut": (LINES[:4], "broke off before its end"),
    "garbage among it": ([*LINES[:3], "data: {oops\n\n", *LINES[3:]], "1 records of the stream"),
    "nothing but garbage": (["data: {oops\n\n"] * 9, "not a chat completion"),
    "an empty stream": (["data: [DONE]\n\n"], "not a chat completion"),
    "comments alone": ([": hello\n\n"] * 3, "not a chat completion"),
    "no text": ([LINES[0], LINES[-2], chunk({}, finish="stop")], "holds no text"),
    "thoughts alone": ([chunk({"reasoning_content": "hm"}, finish="stop")], "holds no text"),
    "an error in it": (
        [*LINES[:3], 'data: {"error": {"message": "overloaded", "code": 500}}\n\n'],
        "overloaded",
    ),
    "an error alone": (['data: {"error": {"message": "out of\\nmemory"}}\n\n'], "out of memory"),
    "an error as llama.cpp had it": (['error: {"code": 0, "message": "no slot"}\n\n'], "no slot"),
    "an error as a text": (['data: {"error": "busy"}\n\n'], "busy"),
    "its token limit": ([chunk({"content": "half"}, finish="length")], "cut off at its token limit"),
    "a filter": ([chunk({"content": "half"}, finish="content_filter")], "stopped by the endpoint's filter"),
    "a refusal": ([chunk({"refusal": "I will not."}, finish="stop")], "refused: I will not."),
    "numbers": (["data: 1\n\n", "data: null\n\n", "data: []\n\n"], "not a chat completion"),
    "depth": ([f"data: {'[' * 100_000}\n\n"], "not a chat completion"),
    "a page": (["<html>busy</html>"], "not a chat completion"),
    "too long": ([chunk({"content": "x" * 50_000})] * 30, "longer than 1,000,000 bytes"),
    "one long line": (["data: " + "x" * 1_100_000], "longer than 1,000,000 bytes"),
    "wrong shapes": (
        ['data: {"choices": 3}\n\n', 'data: {"choices": [3, {"delta": 4}, {"delta": {"content": 5}}]}\n\n'],
        "holds no text",
    ),
}


@pytest.mark.parametrize("kind", ILL)
def test_a_stream_that_goes_wrong_is_a_fault_and_no_error(kind: str, server: FakeOpenAI, url: str) -> None:
    lines, said = ILL[kind]
    server.faults = [Fault("stream", lines)]
    reply = chat(url).ask(ASK, {}, hear=lambda piece: None)
    assert said in (reply.fault or "")
    assert reply.usage.calls == 1


def test_usage_that_is_missing_is_unknown(server: FakeOpenAI, url: str) -> None:
    server.faults = [Fault("stream", stream_of(completion(BODY, TEXT), counted=False))]
    reply = chat(url).ask(ASK, {}, hear=lambda piece: None)
    assert (reply.text, reply.usage.prompt_tokens, reply.usage.usd) == (TEXT, None, None)


def test_an_error_that_came_as_a_stream_is_as_good_as_its_status(server: FakeOpenAI, url: str) -> None:
    refusal = {"error": {"message": "response_format is not supported", "code": 400}}
    server.faults = [Fault("stream", [f"data: {json.dumps(refusal)}\n\n"])]
    reply = chat(url).ask(ASK, {}, hear=lambda piece: None)
    assert (reply.text, reply.mode) == (TEXT, "json_object")


@pytest.mark.parametrize(
    "line", [": still there\n\n", "data: {oops\n\n", chunk({"content": ""}), chunk({"content": "x"})]
)
def test_a_stream_without_end_is_left_at_the_deadline(line: str, server: FakeOpenAI, url: str) -> None:
    server.faults = [Fault("endless", line)]
    started = time.monotonic()
    with pytest.raises(DependencyError, match=r"no whole answer within 0.5 s"):
        chat(url, timeout_s=0.5).ask(ASK, {}, hear=lambda piece: None)
    assert time.monotonic() - started < 3


def test_calls_of_tools_come_in_pieces(server: FakeOpenAI, url: str) -> None:
    def part(**call: Any) -> str:
        return chunk({"tool_calls": [call]})

    lines = [
        part(index=0, id="a", type="function", function={"name": "draw", "arguments": ""}),
        part(index=0, function={"arguments": '{"n"'}),
        part(index=0, function={"arguments": ": 1}"}),
        part(index=0, id="b", function={"name": "show", "arguments": "{}"}),
        part(id="c", function={"name": "end", "arguments": {"x": [1]}}),
        part(function={"arguments": " "}),
        chunk({}, finish="tool_calls"),
        "data: [DONE]\n\n",
    ]
    server.faults = [Fault("stream", lines)]
    reply = chat(url).tools_turn([{"role": "user", "content": "u"}], [], hear=lambda piece: None)
    assert [tuple(call) for call in reply.calls] == [
        ("a", "draw", '{"n": 1}'),
        ("b", "show", "{}"),
        ("c", "end", '{"x": [1]} '),
    ]
    assert (reply.text, reply.fault) == ("", None)


def test_a_turn_with_tools_streams_like_any_other(server: FakeOpenAI, url: str) -> None:
    server.rule = lambda body: ToolCalls((("draw", {"n": 1}), ("draw", {"n": 2})), "first this")
    messages = [{"role": "user", "content": "u"}]
    pieces: list[str] = []
    streamed = chat(url).tools_turn(messages, [], hear=pieces.append)
    whole = chat(url).tools_turn(messages, [])
    assert streamed[:3] == whole[:3]
    assert "".join(pieces) == "first this"
    assert [call.arguments for call in whole.calls] == ['{"n": 1}', '{"n": 2}']


def test_calls_without_end_are_not_all_kept(server: FakeOpenAI, url: str) -> None:
    server.rule = lambda body: ToolCalls((("draw", {}),) * (MAX_CALLS + 9))
    reply = chat(url).tools_turn([{"role": "user", "content": "u"}], [])
    assert len(reply.calls) == MAX_CALLS


@given(st.integers(1, 40), st.sampled_from(sorted(WELL)))
def test_it_does_not_matter_where_the_network_cuts(size: int, kind: str) -> None:
    data = "".join(WELL[kind]).encode()
    reader = Reader(1_000_000)
    for at in range(0, len(data), size):
        if not reader.feed(data[at : at + size]):
            break
    assert (reader.said().text, reader.said().fault) == (TEXT, None)


@given(st.lists(st.binary(max_size=60), max_size=12))
def test_no_bytes_at_all_are_an_error(pieces: list[bytes]) -> None:
    reader = Reader(500)
    for piece in [b"data: ", *pieces]:
        if not reader.feed(piece):
            break
    said = reader.said()
    assert said.fault is not None or said.text or said.calls
    said.text.encode()
