"""Conversations about planted features with a scripted LLM on real HTTP and a real Redis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import redis as redis_module

from agent import ask
from agent.ask_llm import Speaker
from agent.ask_records import Conversation
from agent.ask_runs import AskRequest, OutOfBudget, Parlour, converse, read_conversation
from agent.ask_state import AskDesk, AskState
from agent.budget import Limits
from agent.checkpointer import RedisCheckpointer
from agent.llm import Chat, Endpoint
from agent.prices import Price
from sae.feature import Feature
from tests.fake_openai_server import Body, FakeOpenAI, Fault, ToolCalls, status
from tests.naming_world import Workshop, world
from tools.errors import DependencyError, UsageError
from tools.ledger import Ledger

DRAW = ToolCalls((("draw_and_score", {"index": 0, "prompts": ["striped fish", "fish"]}),))
FACTS = ToolCalls((("show_facts", {"index": 0}),))


def answering(text: str = "It is the stripes [fig-1].", *cites: Any) -> ToolCalls:
    return ToolCalls((("answer", {"text": text, "cites": list(cites) or [{"figure": "fig-1"}]}),))


def scripted(*steps: Any) -> Callable[[Body], Any]:
    """The step by how often the model has spoken in this transcript: the same question, the same answer."""

    def rule(body: Body) -> Any:
        spoken = sum(message["role"] == "assistant" for message in body["messages"])
        step = steps[min(spoken, len(steps) - 1)]
        return step(body) if callable(step) else step

    return rule


class Room:
    """A server, a workshop, a place for conversations."""

    def __init__(self, redis: redis_module.Redis, url: str, server: FakeOpenAI) -> None:
        self.server, self.shop = server, Workshop()
        self.parlour = Parlour(redis, RedisCheckpointer(redis))
        self.endpoint = Endpoint(model="m", base_url=url, price=Price(prompt=1.0, completion=2.0), retries=0)
        self.opened = 0

    def desk(self, thread: str) -> AskDesk:
        self.opened += 1
        store: Any = world().store
        chat = Chat(self.endpoint, api_key="k", png=store.png)
        speaker = Speaker(chat, ledger=Ledger(self.parlour.client), png=store.png)
        return AskDesk(self.shop.toolbox, speaker)

    def ask(
        self, question: str = "stripes or fish?", *, thread: str | None = None, **limits: Any
    ) -> Conversation:
        request = AskRequest(
            feature=Feature(dictionary="fake", index=0),
            question=question,
            models="fake",
            speaker="s",
            thread=thread,
            limits=Limits(race_images=0, **limits),
        )
        return converse(request, self.desk, parlour=self.parlour)

    def last(self, at: int = -1) -> list[Body]:
        """The messages of a request."""
        messages: list[Body] = self.server.requests[at]["messages"]
        return messages


@contextmanager
def room(redis: redis_module.Redis, *steps: Any) -> Iterator[Room]:
    server = FakeOpenAI(scripted(*steps))
    with server.serve() as url:
        yield Room(redis, url, server)


def test_an_answer_comes_with_what_it_cites(redis: redis_module.Redis) -> None:
    with room(redis, FACTS, DRAW, answering("Stripes [fig-3], see img-1.", {"figure": "fig-4"})) as there:
        told = there.ask()
        answer = told.answer
        assert (answer.text, answer.code, answer.stored) == ("Stripes [fig-3], see img-1.", None, False)
        assert [each.id for each in answer.cites] == ["fig-4", "fig-3", "img-1"]
        picture = answer.cites[-1].picture
        assert picture is not None and len(picture.image) == 64 and picture.activation > 0.5
        assert (answer.images.charged, answer.images.drawn, answer.cost.llm_calls) == (4, 4, 3)
        assert answer.cost.usd and answer.cost.prompt_tokens
        assert {"draw_and_score", "answer"} <= {
            each["function"]["name"] for each in there.server.requests[0]["tools"]
        }
        kinds = [each.what.kind for each in there.shop.events]
        assert kinds == ["questioned", "asked", "tool_called", "asked", "tool_called", "asked", "answered"]
        # The same question again is found; neither tools nor LLM are needed.
        again = there.ask()
        assert again.answer == answer.model_copy(update={"stored": True}) and there.opened == 1
        assert read_conversation(told.thread, parlour=there.parlour) == told


def test_a_follow_up_sees_what_was_said_and_may_cite_it(redis: redis_module.Redis) -> None:
    steps = (DRAW, answering(), DRAW, answering("Fish alone do nothing [fig-4].", "fig-4", "img-3"))
    with room(redis, *steps) as there:
        first = there.ask(images=4)
        second = there.ask("and fish?", thread=first.thread, images=4)
        assert [each.question for each in second.answers] == ["stripes or fish?", "and fish?"]
        assert [each.id for each in second.answer.cites] == ["fig-4", "img-3"]
        # Each question has limits of its own.
        assert [each.images.charged for each in second.answers] == [4, 4]
        roles = [message["role"] for message in there.last()]
        assert roles == ["system", "user", *("assistant", "tool") * 2, "user", *("assistant", "tool")]
        assert there.ask(thread=first.thread).answer.stored
        other = AskRequest(
            feature=Feature(dictionary="fake", index=1),
            question="?",
            models="",
            speaker="",
            thread=first.thread,
        )
        with pytest.raises(UsageError, match="is about fake#0, not fake#1"):
            converse(other, there.desk, parlour=there.parlour)
        with pytest.raises(UsageError, match="'ask-none' does not exist"):
            there.ask(thread="ask-none")


def test_unknown_tools_and_malformed_arguments_go_back_to_the_model(redis: redis_module.Redis) -> None:
    odd = ToolCalls((("write name!", {}), ("draw_and_score", '{"index": 0, '), ("show_facts", {"index": -1})))
    with room(redis, odd, FACTS, answering()) as there:
        assert there.ask().answer.code is None
        *_, said, one, two, three = there.last(1)
        calls = said["tool_calls"]
        assert [each["id"] for each in calls] == [
            one["tool_call_id"],
            two["tool_call_id"],
            three["tool_call_id"],
        ]
        assert len({each["id"] for each in calls}) == 3
        # What cannot be read is not sent back: servers parse the arguments of a transcript.
        assert [json.loads(each["function"]["arguments"]) for each in calls][1] == {}
        assert "There is no tool 'write_name_'" in one["content"]
        assert "JSON" in two["content"] and "greater than or equal to 0" in three["content"]
        assert [each.what.refused is not None for each in there.shop.told("tool_called")] == [  # type: ignore[union-attr]
            True, True, True, False,
        ]  # fmt: skip


def test_an_invented_citation_is_sent_back_once(redis: redis_module.Redis) -> None:
    def repaired(body: Body) -> ToolCalls:
        assert "no tool has returned 'fig-99'" in body["messages"][-1]["content"]
        return answering()

    with room(redis, FACTS, answering("Stripes [fig-99]."), repaired) as there:
        answer = there.ask().answer
        assert (answer.code, answer.text) == (None, "It is the stripes [fig-1].")
        assert answer.cost.llm_calls == 3


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (answering("So it is.", {"image": "img-7"}), "invented_citation"),
        (answering("So it is.", {"figure": "fig-1", "image": "img-1"}), "bad_answer"),
        (ToolCalls((("answer", {"text": "So it is.", "cites": []}),)), "no_citation"),
        (ToolCalls((("answer", '{"text": "So'),)), "bad_answer"),
        (ToolCalls((("answer", {"text": "\u0007", "cites": ["fig-1"]}),)), "bad_answer"),
        (
            ToolCalls((("answer", {"text": "", "cites": ["fig-1"]}), ("show_facts", {"index": 0}))),
            "bad_answer",
        ),
    ],
)
def test_a_second_bad_answer_is_a_failure_with_its_code(
    redis: redis_module.Redis, bad: ToolCalls, code: str
) -> None:
    with room(redis, FACTS, bad, bad, bad, answering()) as there:
        told = there.ask()
        assert (told.answer.text, told.answer.code) == (None, code)
        assert told.answer.why and told.answer.cost.llm_calls == 3
        # Asked again it is asked anew, in a transcript that a server accepts.
        again = there.ask()
        assert [each.code for each in again.answers] == [code, None]
        open_calls = {c["id"] for m in there.last() for c in m.get("tool_calls") or ()}
        assert open_calls == {m["tool_call_id"] for m in there.last() if m["role"] == "tool"}


def test_when_the_pictures_are_used_up_the_model_is_told_and_answers_from_what_it_has(
    redis: redis_module.Redis,
) -> None:
    def told_so(body: Body) -> ToolCalls:
        assert "The budget has 0 images left" in body["messages"][-1]["content"]
        return answering()

    more = ToolCalls((("draw_and_score", {"index": 0, "prompts": ["red"]}),))
    with room(redis, DRAW, more, told_so) as there:
        answer = there.ask(images=4).answer
        assert (answer.code, answer.images.charged) == (None, 4)
        assert sum(there.shop.draw.counts.values()) == 4


def test_when_the_calls_are_nearly_used_up_only_the_answer_is_heard(redis: redis_module.Redis) -> None:
    def last(body: Body) -> ToolCalls:
        assert [each["function"]["name"] for each in body["tools"]] == ["answer"]
        assert "limit of LLM calls is reached" in body["messages"][-1]["content"]
        return answering()

    with room(redis, DRAW, DRAW, last) as there:
        answer = there.ask(llm_calls=3).answer
        assert (answer.code, answer.limit, answer.cost.llm_calls) == (None, "llm_calls", 3)


@pytest.mark.parametrize(
    ("limits", "code", "calls"),
    [
        ({"llm_calls": 2}, "limit_llm_calls", 2),
        ({"usd": 0.0}, "limit_usd", 0),
        ({"llm_calls": 0}, "limit_llm_calls", 0),
    ],
)
def test_a_limit_that_leaves_no_answer_is_an_error_and_repeats_nothing(
    redis: redis_module.Redis, limits: dict[str, Any], code: str, calls: int
) -> None:
    with room(redis, DRAW) as there:
        for _ in range(2):
            with pytest.raises(OutOfBudget, match="before an answer; raise it") as stopped:
                there.ask(**limits)
            assert (stopped.value.answer.code, stopped.value.exit_code) == (code, 4)
            assert len(there.server.requests) == calls


def test_a_prompt_with_a_word_that_the_generator_does_not_know(redis: redis_module.Redis) -> None:
    def told_so(body: Body) -> ToolCalls:
        (refusal,) = json.loads(body["messages"][-1]["content"])["refused"]
        assert "does not know 'zebra'" in refusal["why"]
        return answering()

    zebra = ToolCalls((("draw_and_score", {"index": 0, "prompts": ["zebra", "striped"]}),))
    with room(redis, zebra, told_so) as there:
        assert there.ask().answer.images.charged == 2
        (called,) = there.shop.told("tool_called")
        assert called.what.kind == "tool_called" and called.what.not_drawn[0].prompt == "zebra"


@pytest.mark.parametrize("said", ["I cannot help with that.", ""])
def test_a_model_that_only_talks_is_asked_once_more_for_an_answer(
    redis: redis_module.Redis, said: str
) -> None:
    with room(redis, said, said, answering()) as there:
        answer = there.ask().answer
        assert (answer.text, answer.code) == (None, "no_answer" if said else "bad_reply")
        assert answer.why is not None and "2 replies that could not be used" in answer.why
        assert len(there.server.requests) == 2
    assert "could not be used" in there.last()[-1]["content"]


def test_an_endpoint_that_is_down_loses_nothing(redis: redis_module.Redis) -> None:
    with room(redis, DRAW, answering()) as there:

        def dies(body: Body) -> ToolCalls:
            there.server.faults.append(status(500))
            return DRAW

        there.server.rule = scripted(dies, answering())
        with pytest.raises(DependencyError):
            there.ask()
        before = len(there.server.requests)
        answer = there.ask().answer
        assert answer.code is None and len(there.server.requests) == before + 1
        assert max(there.shop.draw.counts.values()) == 1
        assert answer.cost.llm_calls == 2 and answer.images.charged == 4
        assert [e.what.resumed for e in there.shop.told("questioned")] == [False, True]  # type: ignore[union-attr]


@pytest.mark.parametrize("step", ["think", "act", "answer"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_a_conversation_goes_on_and_pays_for_nothing_twice(
    redis: redis_module.Redis, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    with room(redis, DRAW, answering()) as there:
        whole, crashes = getattr(ask, step), [step]

        def crashing(state: AskState, desk: AskDesk) -> AskState:
            done = whole(state, desk) if after or not crashes else None
            if crashes:
                crashes.pop()
                raise RuntimeError("the machine stopped")
            assert done is not None
            changed: AskState = done
            return changed

        monkeypatch.setattr(ask, step, crashing)
        with pytest.raises(RuntimeError, match="machine stopped"):
            there.ask()
        answer = there.ask().answer
        assert (answer.text, answer.cost.llm_calls, answer.images.charged) == (
            "It is the stripes [fig-1].",
            2,
            4,
        )
        assert len(there.server.requests) == 2 and max(there.shop.draw.counts.values()) == 1


def test_a_question_left_in_hand_is_finished_before_the_next_one(redis: redis_module.Redis) -> None:
    with room(redis, DRAW, answering(), answering("Only stripes [fig-2].")) as there:
        first = there.ask()
        there.server.faults = [status(500)]
        with pytest.raises(DependencyError):
            there.ask("second?", thread=first.thread)
        told = there.ask("third?", thread=first.thread)
        assert [each.question for each in told.answers] == ["stripes or fish?", "second?", "third?"]


def test_pictures_are_sent_to_a_model_that_sees_and_are_kept_as_ids(redis: redis_module.Redis) -> None:
    with room(redis, DRAW, answering()) as there:
        there.endpoint = there.endpoint.model_copy(update={"sees": True})
        told = there.ask()
        pictures = there.last()[-1]
        assert pictures["role"] == "user" and "img-1, img-2, img-3, img-4" in pictures["content"][0]["text"]
        assert pictures["content"][1]["image_url"]["url"].startswith("data:image/")
        assert told.said[3].pictures == tuple(each.image for each in told.pictures)
        asked = there.shop.told("asked")[-1].what
        assert asked.kind == "asked" and "image:" in asked.call.messages[-1][1]


def test_a_model_of_unknown_price_needs_a_word_of_the_person(redis: redis_module.Redis) -> None:
    with room(redis, FACTS, answering()) as there:
        there.endpoint = there.endpoint.model_copy(update={"price": None})
        with pytest.raises(UsageError, match="pass --yes"):
            there.ask()
        assert there.server.requests == []
        assert there.ask(usd=None).answer.cost.usd is None


def test_a_reply_with_a_fault_is_paid_for_and_not_recorded(redis: redis_module.Redis) -> None:
    with room(redis, FACTS, answering()) as there:
        there.server.faults = [Fault("raw", "<html>")]
        answer = there.ask().answer
        assert (answer.code, answer.cost.llm_calls) == (None, 3)
        assert len(there.parlour.client.keys("*:ledger:ask:*")) == 2


def test_words_of_a_person_are_no_trouble_for_the_store(redis: redis_module.Redis) -> None:
    with room(
        redis, ToolCalls((("show_facts", {"index": 0}),), "\ud800 hm"), answering("\ud83d\ude00 ok [fig-1]")
    ) as there:
        assert there.ask("warum \u202e nicht \U0001f993?").answer.text == "\U0001f600 ok [fig-1]"


def test_sealed_pictures_are_beyond_every_conversation(redis: redis_module.Redis) -> None:
    class Untouchable:
        def add(self, name: str, images: Any) -> None:
            raise AssertionError("wrote sealed images")

        def others(self, name: str, *, top: int) -> dict[str, tuple[str, ...]]:
            raise AssertionError("read sealed images")

    every = ToolCalls(
        tuple(
            (name, {"index": 0})
            for name in (
                "show_facts",
                "show_exemplars",
                "control_rate",
                "bank_prompts",
                "neighbours",
                "show_name",
            )
        )
    )
    with room(redis, every, DRAW, answering()) as there:
        there.shop.toolbox = replace(there.shop.toolbox, sealed=Untouchable())
        told = there.ask()
        assert told.answer.code is None
        assert all(request.seed < 2**30 for request in there.shop.draw.counts)
