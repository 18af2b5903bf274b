"""Spans of runs, as a real OTLP receiver gets them; LangSmith by its own variables."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.events import Asked, Event
from agent.proposer import LlmCall
from namesae import telemetry
from namesae.run_spans import RunSpans, SpanExport
from namesae.settings import load_settings
from namesae.telemetry import CAPTURE, spans_of
from tests.command_line import ROOT, here, plant
from tests.command_line import namesae as process
from tests.fake_openai_server import FakeOpenAI, name, plan
from tests.langsmith_receiver import listening_for_runs
from tests.otlp_receiver import Receiver, Sent, receiving
from tests.recorded_runs import RUN, recorded_trace
from tools.image_store import ImageStore

SECRET = "sk-canary-0123456789"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as (held, url):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        yield held


def send(events: tuple[Event, ...], *, captures: bool = False, secrets: tuple[str, ...] = ()) -> None:
    export = SpanExport()
    sink = RunSpans(RUN, export, captures=captures, secrets=secrets)
    for event in events:
        sink(event)
    del sink
    gc.collect()
    export.close()


def recorded(image_store: ImageStore, text: str = "striped") -> tuple[Event, ...]:
    return recorded_trace(image_store, text=text).events


def all_within(children: list[Sent], parent: Sent) -> bool:
    return all(parent.start <= each.start <= each.end <= parent.end for each in children)


def test_a_run_is_an_agent_its_steps_are_tools_and_its_calls_are_chats_in_them(
    receiver: Receiver, image_store: ImageStore
) -> None:
    events = recorded(image_store)
    send(events)
    root, chat = receiver.one("invoke_agent namesae"), receiver.one("chat gpt-5-mini")
    tools = [each for each in receiver.spans if each.name.startswith("execute_tool ")]
    named = sorted(each.name.removeprefix("execute_tool ") for each in tools)
    assert named == ["judge", "observe", "propose", "propose", "race", "record", "score"]
    assert len(receiver.spans) == 9 and {each.trace for each in receiver.spans} == {root.trace}
    assert root.parent == "" and all(receiver.parent_of(each) == root for each in tools)
    assert receiver.parent_of(chat) == receiver.named("execute_tool propose")[0]
    assert (root.start, root.end) == (events[0].at, events[-1].at)
    assert all_within(tools, root) and all_within([chat], receiver.parent_of(chat))
    steps = sorted(tools, key=lambda each: each.start)
    assert all(first.end == second.start for first, second in pairwise(steps))
    assert receiver.paths == ["/v1/traces"] and root.resource["service.name"] == "namesae"


def test_attributes_are_those_of_the_genai_conventions(receiver: Receiver, image_store: ImageStore) -> None:
    send(recorded(image_store))
    root, chat = receiver.one("invoke_agent namesae"), receiver.one("chat gpt-5-mini")
    assert root.attributes.items() >= {
        ("gen_ai.operation.name", "invoke_agent"),
        ("gen_ai.agent.name", "namesae"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-5-mini"),
        ("gen_ai.conversation.id", RUN),
        ("namesae.feature", "fake#0"),
        ("namesae.verdict", "named"),
        ("namesae.name", "striped"),
    }
    assert chat.attributes.items() >= {
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-5-mini"),
        ("gen_ai.usage.input_tokens", 10),
        ("gen_ai.usage.output_tokens", 2),
        ("gen_ai.conversation.id", RUN),
        ("error.type", "unusable_reply"),
    }
    assert (chat.kind, chat.status) == (3, 2)
    assert {each.attributes["gen_ai.conversation.id"] for each in receiver.spans} == {RUN}
    judged = receiver.one("execute_tool judge").attributes
    assert judged["gen_ai.operation.name"] == "execute_tool" and judged["gen_ai.tool.name"] == "judge"
    assert judged["gen_ai.evaluation.score.value"] == pytest.approx(0.91)


def test_words_leave_only_when_asked_for_and_images_only_as_hashes(
    receiver: Receiver, image_store: ImageStore
) -> None:
    events = recorded(image_store, "words of a prompt")
    send([each for each in events if each.what.kind != "ended"])  # type: ignore[arg-type]
    quiet = [each.attributes for each in receiver.spans]
    assert not any(
        name.startswith("gen_ai.input") or name.endswith("result") for each in quiet for name in each
    )
    faults = [each for each in receiver.spans if each.status != 2]
    assert "words of a prompt" not in json.dumps([each.attributes for each in faults])
    receiver.spans.clear()
    send(events, captures=True, secrets=("words of",))
    chat = receiver.one("chat gpt-5-mini").attributes
    assert json.loads(chat["gen_ai.system_instructions"]) == [
        {"type": "text", "content": "[secret] a prompt"}
    ]
    (asked,) = json.loads(chat["gen_ai.input.messages"])
    (picture,) = asked["parts"]
    assert picture["type"] == "uri" and picture["uri"].removeprefix("namesae://image/").isalnum()
    (said,) = json.loads(chat["gen_ai.output.messages"])
    assert said["role"] == "assistant" and said["parts"][0]["content"] == "[secret] a prompt"
    result = json.loads(receiver.one("execute_tool score").attributes["gen_ai.tool.call.result"])
    assert result["trials"][0]["proposal"]["prompt"] == "[secret] a prompt"
    assert b"words of" not in b"".join(receiver.bodies[1:]) and b"base64" not in b"".join(receiver.bodies)


def test_what_was_answered_by_the_ledger_spends_no_tokens_and_no_time(
    receiver: Receiver, image_store: ImageStore
) -> None:
    def again(call: LlmCall) -> LlmCall:
        return call.model_copy(update={"recorded": True, "fault": None})

    events = tuple(
        each.model_copy(update={"what": Asked(call=again(each.what.call))})
        if isinstance(each.what, Asked)
        else each
        for each in recorded(image_store)
    )
    send(events)
    chat = receiver.one("chat gpt-5-mini")
    assert chat.attributes["namesae.recorded"] is True and chat.start == chat.end
    assert not any(name.startswith("gen_ai.usage") for name in chat.attributes)


def test_a_run_that_ends_elsewhere_leaves_no_open_span_and_stays_one_trace(
    receiver: Receiver, image_store: ImageStore
) -> None:
    events = recorded(image_store)
    send(events[:3])
    assert receiver.one("invoke_agent namesae").attributes["namesae.unfinished"] is True
    assert receiver.parent_of(receiver.one("chat gpt-5-mini")).name == "execute_tool propose"
    send(events[3:])
    first, second = receiver.named("invoke_agent namesae")
    assert first.trace == second.trace and first.id != second.id
    assert first.end <= second.start and "namesae.unfinished" not in second.attributes


def test_nothing_is_imported_or_sent_unless_an_endpoint_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spans_of("run", load_settings()) == ()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert spans_of("run", load_settings()) == ()
    probe = (
        "import sys, namesae.wiring, namesae.telemetry as t; from namesae.settings import load_settings;"
        "t.spans_of('run', load_settings()); sys.exit('namesae.run_spans' in sys.modules)"
    )
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    assert subprocess.run([sys.executable, "-c", probe], cwd=ROOT).returncode == 0


def test_without_the_extra_it_says_so_once_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9/none")
    monkeypatch.setattr(telemetry, "NEEDED", ("opentelemetry_that_is_not_there",))
    assert spans_of("one", load_settings()) == () == spans_of("two", load_settings())
    assert [each.getMessage().count("namesae[otel]") for each in caplog.records] == [1]


@pytest.fixture
def llm(
    redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[FakeOpenAI]:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)
    turns = [
        plan("draw", prompts=["striped fish"]),
        plan("conclude", names=[name("striped")]),
    ]
    fake = FakeOpenAI(lambda body: turns[min(len(fake.requests) - 1, 1)])
    with fake.serve() as url:
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("NAMESAE_YES", "1")
        monkeypatch.setenv("NAMESAE_MAX_IMAGES", "24")
        yield fake


def test_a_real_run_arrives_nested_as_agent_tool_chat(
    receiver: Receiver, llm: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CAPTURE, "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20phoenix")
    assert here("name", "fake#0", "--quiet", "--json") == 0
    run = json.loads(capfd.readouterr().out.splitlines()[1])["run"]
    export = telemetry._export(os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"])
    assert export is not None
    gc.collect()
    export.close()
    root, chats = receiver.one("invoke_agent namesae"), receiver.named("chat gpt-5-mini")
    assert len(chats) == len(llm.requests) == 2
    for chat in chats:
        tool = receiver.parent_of(chat)
        assert tool.name == "execute_tool propose" and receiver.parent_of(tool) == root
        assert tool.start <= chat.start < chat.end <= tool.end
    assert root.attributes["gen_ai.conversation.id"] == run
    assert sum(each.attributes["gen_ai.usage.input_tokens"] for each in chats) > 0
    names = {each.name for each in receiver.spans}
    assert {"execute_tool score", "execute_tool race", "execute_tool judge"} <= names
    assert receiver.headers[0]["authorization"] == "Bearer phoenix"
    assert SECRET.encode() not in b"".join(receiver.bodies)


@pytest.mark.slow
@pytest.mark.timed
def test_a_receiver_that_is_not_there_costs_a_line_and_no_verdict(
    llm: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    begun = time.monotonic()
    told = process("name", "fake#0", "--quiet")
    assert told.returncode == 0, told.stderr
    assert time.monotonic() - begun < 30 and "Traceback" not in told.stderr
    assert len(told.stdout.splitlines()) == 1


@pytest.mark.slow
def test_langsmith_sees_the_graph_by_its_own_variables_and_no_secret(
    redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with listening_for_runs() as (received, url):
        monkeypatch.setenv("LANGSMITH_TRACING", "true")
        monkeypatch.setenv("LANGSMITH_ENDPOINT", url)
        monkeypatch.setenv("LANGSMITH_API_KEY", "lsv2-fake")
        monkeypatch.setenv("LANGSMITH_DISABLE_RUN_COMPRESSION", "true")
        told = process("name", "fake#0", "--quiet", "--proposer", "lexical")
    assert told.returncode == 0, told.stderr
    (root,) = [run for run in received.runs.values() if run.get("parent_run_id") is None]
    steps = [run["name"] for run in received.runs.values() if run.get("parent_run_id") == root["id"]]
    assert root["name"] == "LangGraph" and received.keys == {"lsv2-fake"}
    assert {"observe", "propose", "draw", "score", "conclude", "race", "judge", "record"} <= set(steps)
    assert {run["trace_id"] for run in received.runs.values()} == {root["trace_id"]}
    assert SECRET.encode() not in received.bytes and b"iVBORw0KGgo" not in received.bytes
