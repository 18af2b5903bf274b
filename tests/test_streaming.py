"""Replies are followed while they come, a few pieces a second, and stand in the trace once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis as redis_module

from agent.budget import Usage
from agent.checkpointer import RedisCheckpointer
from agent.events import Asked, Event, EventStream, Happening, Started, Streamed
from agent.llm import Chat, Endpoint
from agent.openai_proposer import OpenAIProposer
from agent.prices import Price
from agent.proposer import LlmCall
from agent.request import Request
from agent.runs import Desk, name_feature
from agent.runs_store import RunStore
from agent.streaming import MAX_HEARD, Voice, audible, hushed, settled
from agent.toolbox import Toolbox
from sae.feature import Feature
from tests.fake_openai_server import Body, FakeOpenAI, Fault, name, plan
from tests.naming_world import Workshop
from tests.views import view
from tools.errors import DependencyError

CALL = LlmCall(model="m", mode="prompt", messages=(), reply="whole", usage=Usage(calls=1), seconds=1.0)


class Ticks:
    """A clock that goes on when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Look at it."""
        return self.now


def event(what: Happening, run: str = "r") -> Event:
    return Event(run=run, at=1.0, node="propose", what=what)


def thinking(body: Body) -> Body:
    """Draws words, then concludes with one."""
    if "Nothing has been drawn yet" in str(body["messages"][1]["content"]):
        return plan("draw", prompts=["a fish", "a cat", "striped", "a striped fish"])
    names = [name("striped fish", "and", parts=["striped", "fish"], level=2), name("fish", level=1)]
    return plan("conclude", names=names)


@pytest.fixture
def server() -> FakeOpenAI:
    return FakeOpenAI(thinking)


@pytest.fixture
def url(server: FakeOpenAI) -> Iterator[str]:
    Chat.forget_modes()
    with server.serve() as address:
        yield address


def proposer(url: str, **changes: Any) -> OpenAIProposer:
    price = Price(prompt=0.0, completion=0.0)
    options = {"model": "m", "base_url": url, "timeout_s": 5.0, "retries": 0, "price": price, **changes}
    return OpenAIProposer(Chat(Endpoint(**options), api_key="k"))


def test_pieces_are_told_a_few_times_a_second_and_none_is_lost() -> None:
    ticks, told = Ticks(), list[Streamed]()
    voice = Voice(told.append, every_s=0.5, clock=ticks)
    with voice:
        assert voice.heard is not None
        for at in range(100):
            voice.heard(f"{at},")
            ticks.now += 0.02
    assert 4 <= len(told) <= 6
    assert "".join(piece.text for piece in told) == "".join(f"{at}," for at in range(100))
    assert [piece.done for piece in told] == [False] * (len(told) - 1) + [True]


def test_a_reply_without_end_is_not_told_without_end() -> None:
    ticks, told = Ticks(), list[Streamed]()
    with Voice(told.append, clock=ticks) as voice:
        assert voice.heard is not None
        for _ in range(60):
            ticks.now += 1.0
            voice.heard("x" * 1000)
    assert sum(len(piece.text) for piece in told) == MAX_HEARD
    assert len(told) <= MAX_HEARD // 1000 + 1


def test_where_nobody_listens_no_stream_is_asked_for(server: FakeOpenAI, url: str) -> None:
    assert hushed(0).heard is None
    proposer(url).plan(view())
    assert "stream" not in server.requests[0]
    with Voice(list[Streamed]().append) as silent:
        assert silent.heard is not None


def test_a_follower_sees_the_text_grow_and_the_trace_has_it_once(
    server: FakeOpenAI, url: str, redis: redis_module.Redis
) -> None:
    stream, followed = EventStream(redis), list[Event]()

    def emit(told: Event) -> None:
        stream(told)
        followed.append(told)

    heard = audible(proposer(url), "r", emit=emit, clock=lambda: 5.0)
    turn = heard.plan(view(round=2))
    (call,) = turn.calls
    pieces = [told.what for told in followed if isinstance(told.what, Streamed)]
    assert "".join(piece.text for piece in pieces) == call.reply
    assert pieces[-1].done and all(told.round == 2 and told.node == "propose" for told in followed)
    assert [entry.event for entry in stream.read("r")] == followed
    stream(event(Asked(call=call)))
    assert [entry.event.what.kind for entry in stream.read("r")] == ["asked"]


def test_a_reply_that_fails_is_over_for_its_followers(server: FakeOpenAI, url: str) -> None:
    followed: list[Event] = []
    server.faults = [Fault("endless", 'data: {"choices": [{"delta": {"content": "so "}}]}\n\n')]
    heard = audible(proposer(url, timeout_s=0.5), "r", emit=followed.append, clock=lambda: 5.0)
    with pytest.raises(DependencyError):
        heard.plan(view())
    last = followed[-1].what
    assert isinstance(last, Streamed) and last.done


def test_pieces_stand_in_a_trace_only_while_there_is_no_more() -> None:
    begun = event(Started(feature="d#1", proposer="p", resumed=False, images=1))
    one, two, over = (event(Streamed(text=text, done=text == "c")) for text in "abc")
    asked = event(Asked(call=CALL))
    assert settled([begun, one, two, over, asked]) == (begun, asked)
    (first, growing) = settled([begun, one, two])
    assert first == begun and growing.what == Streamed(text="ab")
    (_, other) = settled([begun, one, over, two])
    assert other.what == Streamed(text="b")


def test_a_named_feature_costs_by_node_and_leaves_no_piece_behind(
    server: FakeOpenAI, url: str, redis: redis_module.Redis
) -> None:
    stream, shop = EventStream(redis), Workshop(proposer(url))
    request = Request(feature=Feature(dictionary="fake", index=4), models="fake", proposer="openai:m")

    def toolbox(run: str) -> Toolbox:
        heard = audible(proposer(url), run, emit=stream, clock=lambda: 5.0)
        return replace(shop.toolbox, proposer=heard, emit=stream)

    told = name_feature(request, toolbox, desk=Desk(RunStore(redis), RedisCheckpointer(redis)))
    assert told.name == "striped fish"
    (cost,) = told.cost.by_node
    assert (cost.node, cost.calls) == ("propose", told.cost.llm_calls) == ("propose", 2)
    assert cost.prompt_tokens == told.cost.prompt_tokens and cost.seconds > 0
    kinds = [entry.event.what.kind for entry in stream.read(told.run)]
    assert "streamed" not in kinds and kinds.count("asked") == 2
    assert all(body["stream"] for body in server.requests)
