"""One exchange with an endpoint over real HTTP, whatever the endpoint does; what replies mean beside it."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.budget import Usage
from agent.llm import Chat, Endpoint
from agent.plan_reply import BadReplyError, extract_object, plan_of, reply_schema
from agent.plans import ConcludePlan, ContradictPlan, DrawPlan, PairPlan, ShowPlan
from agent.prices import Price
from agent.prompting import Message
from tests.fake_openai_server import FakeOpenAI, Fault, name, plan, status
from tools.errors import DependencyError

ROOT = Path(__file__).parent.parent
ASK = (Message(role="system", text="s"), Message(role="user", text="u"))
SECRET = "sk-very-secret"


@pytest.fixture
def server() -> FakeOpenAI:
    return FakeOpenAI(lambda body: plan("draw", prompts=["a fish"]))


@pytest.fixture
def url(server: FakeOpenAI) -> Iterator[str]:
    Chat.forget_modes()
    with server.serve() as address:
        yield address


def chat(url: str, **changes: Any) -> Chat:
    options = {"model": "m", "base_url": url, "timeout_s": 5.0, "retries": 0, **changes}
    return Chat(Endpoint(**options), api_key=SECRET)


def test_a_reply_comes_with_its_tokens_and_its_price(server: FakeOpenAI, url: str) -> None:
    reply = chat(url, price=Price(prompt=1.0, completion=10.0)).ask(ASK, reply_schema())
    assert json.loads(reply.text) == plan("draw", prompts=["a fish"])
    assert (reply.mode, reply.fault) == ("json_schema", None)
    tokens = len(reply.text) // 4
    assert (reply.usage.calls, reply.usage.completion_tokens) == (1, tokens)
    assert reply.usage.usd == pytest.approx(((reply.usage.prompt_tokens or 0) + 10 * tokens) / 1e6)
    assert server.requests[0]["response_format"]["json_schema"]["strict"] is True
    assert server.headers[0]["authorization"] == f"Bearer {SECRET}"


def test_missing_usage_and_missing_price_are_unknown(server: FakeOpenAI, url: str) -> None:
    server.faults = [Fault("no_usage")]
    unknown = chat(url, price=Price(prompt=1.0, completion=1.0)).ask(ASK, {}).usage
    assert unknown == Usage(
        calls=1,
        prompt_tokens=None,
        completion_tokens=None,
        usd=None,
        cached_tokens=None,
        reasoning_tokens=None,
    )
    assert chat(url).ask(ASK, {}).usage.usd is None


@pytest.mark.parametrize(
    ("refused", "modes"),
    [
        (set(), ["json_schema", "json_schema"]),
        ({"json_schema"}, ["json_schema", "json_object", "json_object"]),
        ({"json_schema", "json_object"}, ["json_schema", "json_object", None, None]),
    ],
)
def test_the_mode_is_found_once_for_an_endpoint(
    refused: set[str], modes: list[str | None], server: FakeOpenAI, url: str
) -> None:
    server.refused_formats = refused
    chat(url).ask(ASK, reply_schema())
    chat(url).ask(ASK, reply_schema())
    assert server.formats() == modes


@pytest.mark.parametrize("number", [400, 401, 403, 404, 409, 422, 429, 500, 503, 529])
def test_an_error_is_one_sentence_that_keeps_the_secret(number: int, server: FakeOpenAI, url: str) -> None:
    server.faults = [status(number)] * 3
    with pytest.raises(DependencyError) as told:
        chat(url).ask(ASK, {})
    text = str(told.value)
    assert f"status {number}" in text
    assert text.count(".") <= text.count("127.0.0.1") * 3 + 1
    assert "continue the run" in text
    assert SECRET not in text
    assert told.value.exit_code == 3


def test_passing_errors_are_retried_by_the_sdk_alone(server: FakeOpenAI, url: str) -> None:
    server.faults = [status(500), status(429, retry_after_ms="10")]
    assert chat(url, retries=2).ask(ASK, {}).fault is None
    assert len(server.requests) == 3


def test_silence_and_absence_are_told(server: FakeOpenAI, url: str) -> None:
    server.faults = [Fault("delay", 2.0)]
    with pytest.raises(DependencyError, match=r"no whole answer within 0.3 s"):
        chat(url, timeout_s=0.3).ask(ASK, {})
    with pytest.raises(DependencyError, match="could not be reached"):
        chat("http://127.0.0.1:9/v1").ask(ASK, {})


def test_a_reply_of_ten_megabytes_is_put_down_unread(server: FakeOpenAI, url: str) -> None:
    server.faults = [Fault("text", "x" * 10_000_000)]
    reply = chat(url).ask(ASK, {})
    assert reply.text == ""
    assert reply.fault == "the reply is longer than 1,000,000 bytes"
    assert reply.usage.prompt_tokens is None


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("raw", "<html>busy</html>"), "not a chat completion"),
        (Fault("raw", '{"hello": 1}'), "not a chat completion"),
        (Fault("raw", '{"choices": []}'), "not a chat completion"),
        (Fault("raw", '{"choices": [{"message": "x"}]}'), "not a chat completion"),
        (Fault("raw", "[" * 100_000), "not a chat completion"),
        (Fault("raw", "null"), "not a chat completion"),
        (Fault("null"), "holds no text"),
        (Fault("text", "  "), "holds no text"),
        (Fault("cut"), "cut off"),
    ],
)
def test_a_wrong_shape_is_a_fault_and_no_error(fault: Fault, said: str, server: FakeOpenAI, url: str) -> None:
    server.faults = [fault]
    reply = chat(url).ask(ASK, {})
    assert said in (reply.fault or "")
    assert reply.usage.calls == 1


def test_the_schema_is_strict_and_says_no_more_than_strict_endpoints_take() -> None:
    def check(part: dict[str, Any]) -> None:
        assert set(part) <= {
            "type",
            "properties",
            "items",
            "enum",
            "anyOf",
            "required",
            "additionalProperties",
        }
        if part.get("type") == "object":
            assert part["required"] == list(part["properties"])
            assert part["additionalProperties"] is False
        for inner in (*part.get("properties", {}).values(), *([part["items"]] if "items" in part else [])):
            check(inner)

    check(reply_schema())


FULL = plan("draw", prompts=["a fish"])
FENCED = f"Sure!\n```json\n{json.dumps(FULL)}\n```\nHope that helps {{smile}}"


@pytest.mark.parametrize("text", [json.dumps(FULL), FENCED, "{oops} " + json.dumps(FULL)])
def test_a_plan_is_found_in_prose_and_fences(text: str) -> None:
    found = plan_of(text)
    assert isinstance(found, DrawPlan)
    assert found.proposals[0].prompt == "a fish"


def test_every_action_becomes_its_plan() -> None:
    said = {
        ShowPlan: plan("show", low=0.1, high=0.2),
        PairPlan: plan("test", prompts=["a", "b"]),
        ContradictPlan: plan("contradict", prompts=["a"], claim="c"),
        ConcludePlan: plan("conclude", names=[name("fish", fires=["a red fish"])]),
    }
    for kind, reply in said.items():
        assert type(plan_of(json.dumps(reply))) is kind


def test_a_name_is_drawn_as_itself_or_through_its_parts() -> None:
    names = [
        name("striped fish", "and", parts=["striped", "fish"], level=2),
        name("whatever", "or", parts=["ball", "forest"]),
        name("not blue", "not", parts=["red", "green"]),
    ]
    concluded = plan_of(json.dumps(plan("conclude", names=names)))
    assert isinstance(concluded, ConcludePlan)
    both, either, nothing = concluded.candidates
    assert (both.prompts, both.parts) == (("striped fish",), ("striped", "fish"))
    assert (either.name, either.prompts) == ("ball or forest", ("ball", "forest"))
    assert (nothing.prompts, nothing.parts) == (("red", "green"), ())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("I would rather not.", "no whole JSON object"),
        ('{"thought": "t", "act', "no whole JSON object"),
        (json.dumps(plan("destroy")), "action"),
        (json.dumps(plan("draw")), '"prompts" is empty'),
        (json.dumps(plan("test", prompts=["a"])), "1 prompts instead of two"),
        (json.dumps(plan("show", low=0.5, high=0.5)), "not below"),
        (json.dumps(plan("conclude")), '"names" is empty'),
        (json.dumps(plan("conclude", names=[name("x", "or", parts=["x"])])), "too few parts"),
        (json.dumps(plan("draw", prompts=["x" * 201])), "prompts.0.prompt"),
        (json.dumps(plan("draw", prompts=["a"] * 13)), "prompts"),
        (json.dumps(plan("draw", prompts=["a\u202eb"])), "cannot be printed"),
        (json.dumps(plan("conclude", names=[name("\ud800")])), "names.0.name"),
        (json.dumps({**plan("draw", prompts=["a"]), "score": 1}), "score"),
        (json.dumps(plan("show", low=float("nan"))), "not a number"),
        ('{"a":' * 60_000, "no whole JSON object"),
        ("{" * 5000, "no whole JSON object"),
    ],
)
def test_what_is_no_plan_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(BadReplyError, match=why):
        plan_of(text)


def test_dangerous_looking_json_stays_inert() -> None:
    inert = {"lc": 2, "type": "constructor", "id": ["os", "system"], "kwargs": {}}
    assert extract_object(json.dumps(inert)) == inert
    with pytest.raises(BadReplyError):
        plan_of(json.dumps(inert))


def test_importing_the_proposer_imports_no_openai() -> None:
    probe = "import sys, agent.openai_proposer; print('openai' in sys.modules or 'httpx2' in sys.modules)"
    command = [sys.executable, "-c", probe]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_a_chat_that_nobody_holds_hangs_up(url: str) -> None:
    held = chat(url)
    held.ask(ASK, reply_schema())
    client = held._sdk()
    assert not client.is_closed()
    del held
    gc.collect()
    assert client.is_closed()
