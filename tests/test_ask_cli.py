"""``namesae ask`` and ``namesae.ask`` end to end, on a planted feature and a scripted LLM."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import namesae
from namesae import api
from tests.command_line import here, plant, records, start
from tests.command_line import namesae as process
from tests.fake_openai_server import Body, FakeOpenAI, ToolCalls, status

QUESTION = "stripes or fish?"
DRAW = ToolCalls((("draw_and_score", {"index": 0, "prompts": ["striped fish", "fish", "zebra"]}),))
ANSWER = ToolCalls(
    (("answer", {"text": "The stripes [fig-2].\nNot the fish.", "cites": [{"image": "img-1"}]}),)
)


def rule(body: Body) -> Any:
    return (DRAW, ANSWER)[sum(each["role"] == "assistant" for each in body["messages"]) % 2]


@pytest.fixture(autouse=True)
def planted(redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    fake = FakeOpenAI(rule)
    with fake.serve() as url:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-fake")
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_MODEL", "fake-model")
        monkeypatch.setenv("NAMESAE_OPENAI_PRICE_PROMPT", "1")
        monkeypatch.setenv("NAMESAE_OPENAI_PRICE_COMPLETION", "2")
        yield fake
    api.close()


def test_the_steps_go_to_stderr_and_the_answer_with_its_citations_to_stdout(
    server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    told = process("ask", "fake#0", QUESTION)
    assert told.returncode == 0, told.stderr
    assert "Asking fake-model about fake#0: up to 100 pictures and 24 LLM calls, at most $0.10" in told.stderr
    assert 'draw_and_score ["striped fish", "fish", "zebra"]: fig-1' in told.stderr
    assert "'zebra' not drawn: fake does not know 'zebra'" in told.stderr
    text, more, _, picture, figure = told.stdout.splitlines()
    assert (text, more) == ("The stripes [fig-2].", "Not the fish.")
    assert figure.startswith("  fig-2  1.00 [") and "share that fires" in figure
    assert picture.startswith("  img-1  ") and Path(picture.split()[-1]).is_file()
    again = process("ask", "fake#0", QUESTION, "--quiet")
    assert again.returncode == 0 and again.stderr == "" and "(stored 20" in again.stdout
    assert len(server.requests) == 2
    thread = told.stderr.split("--thread ")[1].split()[0]
    capsys.readouterr()
    assert here("trace", thread) == 0
    shown = capsys.readouterr().out
    assert f"'{QUESTION}' begins" in shown and 'draw_and_score ["striped fish"' in shown
    assert told.stdout in shown, "the answer whole, with what it cites"
    assert here("trace", thread, "--json") == 0
    (record,) = records(capsys.readouterr().out)
    assert (record["type"], record["thread"]) == ("conversation", thread)
    kinds = [each["what"]["kind"] for each in record["events"]]
    assert kinds[0] == "questioned" and kinds[-1] == "answered" and "tool_called" in kinds
    assert here("trace", thread, "--html", "page.html") == 2
    assert "is a conversation" in capsys.readouterr().err
    assert here("trace", thread, "--conversation", "said.jsonl") == 2
    assert "is a conversation" in capsys.readouterr().err
    assert here("trace", f"{thread}x") == 2


def test_json_is_all_that_goes_to_stdout_and_a_follow_up_goes_on(server: FakeOpenAI) -> None:
    told = process("ask", "fake#0", QUESTION, "--json", "--max-images", "20", "--max-calls", "9")
    assert told.returncode == 0, told.stderr
    launch, step, answer, done = records(told.stdout)
    assert [each["type"] for each in (launch, step, answer, done)] == ["launch", "step", "answer", "done"]
    assert {each["schema"] for each in (launch, step, answer, done)} == {1}
    assert (launch["limits"]["images"], launch["limits"]["llm_calls"]) == (20, 9)
    assert step["tool"] == "draw_and_score" and step["images_left"] == 16
    assert step["not_drawn"][0]["prompt"] == "zebra"
    assert answer["cites"][0]["picture"]["id"] == "img-1"
    assert Path(answer["paths"]["img-1"]).is_file()
    assert done["success"] and done["thread"] == launch["thread"] and done["images"]["charged"] == 4
    more = process("ask", "fake#0", "and fish?", "--json", "--thread", done["thread"])
    assert more.returncode == 0, more.stderr
    assert records(more.stdout)[0]["thread"] == done["thread"]
    assert len(server.requests[-1]["messages"]) > len(server.requests[1]["messages"])


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("ask", "fake#99", QUESTION), 2, "fake has features 0 to"),
        (("ask", "fake#0-3", QUESTION), 2, "means 4 features"),
        (("ask", "fake#0", "  "), 2, "The question has 0 characters"),
        (("ask", "fake#0"), 2, "see namesae --help"),
        (("ask", "fake#0", QUESTION, "--thread", "nope"), 2, "Conversation 'nope' does not exist"),
        (("ask", "fake#0", QUESTION, "--max-calls", "0"), 2, "see namesae --help"),
        (("ask", "fake#0", QUESTION, "--cost-limit", "0"), 4, "limit of $0 for the LLM (--cost-limit)"),
    ],
)
def test_a_mistake_is_one_sentence_and_its_exit_code(
    server: FakeOpenAI,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    assert here(*arguments, "--quiet") == code
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("Error: ") and told in line
    assert server.requests == []


def test_without_a_key_it_says_that_asking_needs_an_llm(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("ask", "fake#0", QUESTION) == 2
    assert "Asking needs an LLM and OPENAI_API_KEY is not set" in capsys.readouterr().err
    told = process("ask", "fake#0", QUESTION, "--json")
    (done,) = records(told.stdout)
    assert (told.returncode, done["type"], done["exit_code"]) == (2, "done", 2)


def test_a_model_without_a_price_needs_yes(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAMESAE_OPENAI_PRICE_PROMPT")
    monkeypatch.delenv("NAMESAE_OPENAI_PRICE_COMPLETION")
    assert here("ask", "fake#0", QUESTION, "--quiet") == 2
    assert here("ask", "fake#0", QUESTION, "--quiet", "--yes") == 0


def test_an_endpoint_that_is_down_is_exit_3_and_the_same_command_goes_on(
    server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    def dies(body: Body) -> Any:
        # The reply after this one fails, however often the client tries.
        server.faults += [status(500)] * 3
        return DRAW

    server.rule = dies
    assert here("ask", "fake#0", QUESTION, "--quiet") == 3
    shown = capsys.readouterr()
    assert shown.out == "" and "answered with status 500" in shown.err
    before = len(server.requests)
    server.faults, server.rule = [], rule
    assert here("ask", "fake#0", QUESTION, "--quiet") == 0
    assert len(server.requests) == before + 1
    assert capsys.readouterr().out.startswith("The stripes")


def test_a_failed_answer_is_exit_1_with_the_reason(
    server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    server.rule = lambda body: ToolCalls((("answer", {"text": "So [fig-9].", "cites": []}),))
    assert here("ask", "fake#0", QUESTION, "--quiet") == 1
    shown = capsys.readouterr()
    assert shown.out == "" and "no tool has returned 'fig-9'" in shown.err


def test_killed_in_the_middle_the_same_command_goes_on(server: FakeOpenAI, redis: Any) -> None:
    seen: list[Any] = []

    def hangs(body: Body) -> Any:
        told = rule(body)
        if told is ANSWER and not seen:
            seen.append(running)
            running.kill()
        return told

    server.rule = hangs
    with start("ask", "fake#0", QUESTION, "--quiet") as running:
        running.communicate(timeout=60)
    assert running.returncode == -9 and seen
    told = process("ask", "fake#0", QUESTION, "--quiet")
    assert told.returncode == 0 and told.stdout.startswith("The stripes"), told.stderr
    # The reply that was on its way is asked for again; the one before it is not.
    assert len(server.requests) == 3


def test_a_signal_lets_the_step_in_progress_finish_and_the_same_command_goes_on(
    server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminates(body: Body) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return DRAW

    server.rule = terminates
    assert here("ask", "fake#0", QUESTION, "--quiet") == 128 + signal.SIGTERM
    assert "the same command continues" in capsys.readouterr().err
    server.rule = rule
    assert here("ask", "fake#0", QUESTION, "--quiet") == 0
    # The reply that came with the signal was recorded.
    assert len(server.requests) == 2


def test_what_a_model_writes_cannot_move_the_cursor(
    server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = ToolCalls((("draw_and_score", '{"index": 0, "prompts": ["\\u001b[31m\\u202e"]}'),))
    last = ToolCalls((("answer", {"text": "a\x1b[2Jb\u202e", "cites": []}),))
    server.rule = lambda body: (odd, last)[len(server.requests) - 1]
    assert here("ask", "fake#0", QUESTION) == 0
    shown = capsys.readouterr()
    assert all(line.isprintable() for line in (shown.out + shown.err).splitlines())


def test_from_python(server: FakeOpenAI) -> None:
    heard: list[str] = []
    told = namesae.ask("fake#0", QUESTION, max_images=20, say=heard.append)
    assert told.answer.text == "The stripes [fig-2].\nNot the fish." and told.answer.code is None
    assert any("draw_and_score" in line for line in heard)
    more = namesae.ask("fake#0", "and fish?", thread=told.thread, max_images=20)
    assert [each.question for each in more.answers] == [QUESTION, "and fish?"]
    assert namesae.ask("fake#0", QUESTION, max_images=20).answer.stored
