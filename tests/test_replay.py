"""A recorded conversation names the feature again without a network, and says where it does not fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.budget import Limits, Usage
from agent.llm import Chat
from agent.openai_proposer import OpenAIProposer
from agent.prompting import Message
from agent.proposer import LlmCall
from agent.replay import Conversation, Heading, ReplayChat, distinct, read_conversation, write_conversation
from agent.request import RunSettings
from namesae.proposers import Means, make_proposer
from namesae.settings import load_settings
from tests.command_line import here, plant, records
from tests.fake_openai_server import Body, FakeOpenAI, Fault, name, plan
from tests.views import view
from tools.errors import UsageError

HEADING = Heading(schema=1, run="r", feature="fake#0", proposer="openai:m", settings=RunSettings())
PLAN = json.dumps(plan("draw", prompts=["a fish"]))


def told(*texts: str, reply: str = PLAN, **changes: Any) -> LlmCall:
    roles = ("system", "user", "assistant", "user")
    call = LlmCall(
        model="m",
        mode="json_object",
        messages=tuple(zip(roles, texts, strict=False)),
        reply=reply,
        usage=Usage(calls=1, prompt_tokens=9, completion_tokens=2, usd=0.5),
        seconds=1.5,
    )
    return call.model_copy(update=changes)


def asked(*texts: str) -> list[Message]:
    roles: tuple[Any, ...] = ("system", "user", "assistant", "user")
    return [Message(role=role, text=text) for role, text in zip(roles, texts, strict=False)]


def chat(*calls: LlmCall) -> ReplayChat:
    return ReplayChat(Conversation(HEADING, calls), source=Path("talk.jsonl"))


def test_an_exchange_is_found_by_its_messages_whatever_its_place() -> None:
    replayed = chat(told("s", "one", reply="1"), told("s", "two", reply="2", blind=True))
    heard: list[str] = []
    reply = replayed.ask(asked("s", "two"), {}, hear=heard.append)
    assert (reply.text, reply.mode, reply.seconds, reply.blind) == ("2", "json_object", 1.5, True)
    assert (reply.usage.usd, heard) == (0.5, ["2"])
    assert replayed.ask(asked("s", "one"), {}).text == "1"
    assert replayed.ask(asked("s", "one"), {}).text == "1"


def test_the_same_question_is_answered_in_turn() -> None:
    bad, first, second = (told("s", "u", reply=text) for text in ("bad", "1", "2"))
    replayed = chat(bad.model_copy(update={"fault": "no plan"}), first, second)
    assert [replayed.ask(asked("s", "u"), {}).text for _ in range(4)] == ["1", "2", "bad", "1"]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("s", "Round 1.\nthis"), r"message 2 \(user\), line 2, says 'that', and the run says 'this'"),
        (("s", "Round 1."), r"message 2 \(user\), line 2, says 'that', and the run says nothing"),
        (("other", "Round 1.\nthat"), r"message 1 \(system\), line 1, says 's'"),
        (("s", "Round 1.\nthat", "x"), "has 2 messages, and the run asks with 3"),
    ],
)
def test_messages_that_were_never_asked_are_told_with_where_they_part(
    texts: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as error:
        chat(told("s", "Round 1.\nthat")).ask(asked(*texts), {})
    assert str(error.value).startswith("Exchange 1 of talk.jsonl") and "\n" not in str(error.value)


def test_a_conversation_that_is_used_up_is_told() -> None:
    replayed = chat(told("s", "u"))
    replayed.ask(asked("s", "u"), {})
    with pytest.raises(UsageError, match=r"All 1 exchanges of talk.jsonl are used"):
        replayed.ask(asked("s", "more"), {})


def test_pictures_stand_for_themselves_and_may_have_been_left_out() -> None:
    seen = view()
    replayed = OpenAIProposer(chat(told("", "image:abc")))
    assert replayed.chat.sees
    with pytest.raises(UsageError, match="Exchange 1"):
        replayed.plan(seen)


def test_a_file_holds_the_same_conversation(tmp_path: Path) -> None:
    path = tmp_path / "new" / "talk.jsonl"
    whole = Conversation(HEADING, (told("s", "\u2028 é"), told("s", "u", reply="x", fault="no plan")))
    write_conversation(whole, path)
    assert read_conversation(path) == whole
    lines = path.read_bytes().decode().split("\n")
    assert [json.loads(line)["type"] for line in lines if line] == ["conversation", "exchange", "exchange"]


def test_what_the_ledger_said_again_was_said_once() -> None:
    first, other = told("s", "u"), told("s", "v")
    assert distinct([first, other, first.model_copy(update={"recorded": True})]) == (first, other)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "in line 1"),
        ("{}\n", "in line 1"),
        ('{"type": "conversation", "schema": 99}\n', "in line 1"),
        (HEADING.model_dump_json(by_alias=True) + "\n", "holds no exchange"),
        (HEADING.model_dump_json(by_alias=True) + "\n[1]\n", "in line 2"),
        (HEADING.model_dump_json(by_alias=True) + '\n{"type": "exchange"}\n', "in line 2"),
        ("\x00" * 50, "in line 1"),
    ],
)
def test_a_file_that_is_no_conversation_is_told(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_conversation(path)


def test_a_replay_must_be_of_the_same_seed_and_images(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    settings = RunSettings(seed=3, limits=Limits.of(40))
    write_conversation(
        Conversation(HEADING.model_copy(update={"settings": settings}), (told("s", "u"),)), path
    )

    def proposer(**flags: Any) -> Any:
        nothing: Any = None
        chosen = load_settings(replay=path, **flags)
        return make_proposer(Means(chosen, nothing, None, nothing, nothing))

    with pytest.raises(UsageError, match=r"recorded with --seed 3, not 0; pass --seed 3"):
        proposer()
    with pytest.raises(UsageError, match="--max-images 40"):
        proposer(seed=3)
    assert proposer(seed=3, max_images=40).name == "replay:m"
    with pytest.raises(UsageError, match="Proposer lexical holds no conversation"):
        proposer(proposer="lexical")


@pytest.fixture
def llm(
    redis: Any, redis_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[FakeOpenAI, Any]]:
    """An LLM that answers badly once, asks about stripes and concludes; and how to stop it."""

    def rule(body: Body) -> Body:
        tried = sum("striped train" in json.dumps(message["content"]) for message in body["messages"])
        if tried:
            return plan("conclude", names=[name("striped"), name("fish")])
        return plan("draw", prompts=["striped train", "red fish"])

    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)
    Chat.forget_modes()
    served = FakeOpenAI(rule)
    served.faults = [Fault("text", "I think it is stripes.")]
    with served.serve() as url:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        yield served, monkeypatch


def named(capsys: pytest.CaptureFixture[str], *order: str) -> dict[str, Any]:
    """The Explanation that an order leaves."""
    assert here("name", *order, "--quiet") == 0
    capsys.readouterr()
    assert here("show", order[0], "--json") == 0
    return records(capsys.readouterr().out)[0]


def test_a_named_feature_is_named_again_from_the_file_alone(
    llm: tuple[FakeOpenAI, Any], redis: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    served, environ = llm
    before = named(capsys, "fake#0", "--yes")
    path = tmp_path / "talk.jsonl"
    assert here("trace", "fake#0", "--conversation", str(path)) == 0
    assert "canary" not in path.read_text() and len(path.read_text().splitlines()) == 4
    requests = len(served.requests)
    redis.flushdb()
    environ.delenv("OPENAI_API_KEY")
    environ.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    after = named(capsys, "fake#0", "--yes", "--replay", str(path))
    assert len(served.requests) == requests
    for field in ("name", "verdict", "confidence", "sealed", "rivals", "search_score"):
        assert after[field] == before[field]
    for field in ("llm_calls", "prompt_tokens", "completion_tokens", "usd"):
        assert after["cost"][field] == before["cost"][field]
    assert (before["proposer"], after["proposer"]) == ("openai:gpt-5-mini", "replay:gpt-5-mini")
    assert here("name", "fake#1", "--replay", str(path), "--yes", "--quiet") == 2
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert 'Feature "fake#0"' in line and 'Feature "fake#1"' in line and shown.out == ""


def test_a_run_without_an_llm_has_no_conversation(
    llm: tuple[FakeOpenAI, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert here("name", "fake#0", "--proposer", "lexical", "--quiet") == 0
    assert here("trace", "fake#0", "--conversation", str(tmp_path / "talk.jsonl")) == 2
    assert "No LLM was asked" in capsys.readouterr().err
    assert not (tmp_path / "talk.jsonl").exists()
