"""What the command line says when something is wrong: one sentence and the right exit code."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sae.errors
from namesae.faults import EXIT_CODES
from tests.command_line import here, namesae, plant, records
from tests.fake_openai_server import FakeOpenAI, Fault, name, plan, status


@pytest.fixture(autouse=True)
def planted(redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("name", "nothing#0"), 2, "Dictionary 'nothing' does not exist"),
        (("name", "fakee#0"), 2, "did you mean 'fake'"),
        (("name", "fake#13"), 2, "fake has features 0 to 12"),
        (("name", "fake"), 2, "names no feature"),
        (("name", "fake#0", "--max-images", "3"), 2, "max_images '3' is wrong"),
        (("name", "fake#0", "--seed", "x"), 2, "see namesae --help"),
        (("name", "fake#0", "--bogus"), 2, "see namesae --help"),
        (("name",), 2, "see namesae --help"),
        (("nmae", "fake#0"), 2, "see namesae --help"),
        (("name", "fake#0", "--proposer", "openai"), 2, "OPENAI_API_KEY is not set"),
        (("name", "fake#0", "--proposer", "nobody"), 2, "'nobody' is not one of 'openai', 'lexical'"),
        (("show", "fake#1"), 2, "has not been named yet; run: namesae name fake#1"),
        (("show", "fake#0-3"), 2, "means 4 features"),
        (("trace", "no-such-run"), 2, "Run 'no-such-run' does not exist"),
        (("trace", "fake#1"), 2, "has not been named yet"),
    ],
)
def test_a_mistake_is_one_sentence_and_its_exit_code(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, told: str
) -> None:
    assert here(*arguments) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("Error: ")
    assert told in line and "Traceback" not in line


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("name", "fake#13", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_mistake_under_json_is_a_done_record() -> None:
    told = namesae("name", "fake#13", "--json")
    assert told.returncode == 2
    (done,) = records(told.stdout)
    assert (done["type"], done["success"], done["exit_code"]) == ("done", False, 2)
    assert "fake has features 0 to 12" in done["error"] and done["error"] in told.stderr


@pytest.mark.parametrize(
    ("environ", "code", "told"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, 3, "could not be reached"),
        ({"REDIS_URL": "http://:secret@host"}, 2, "REDIS_URL is not the address of a Redis"),
        ({"NAMESAE_REDIS": "x"}, 2, "did you mean NAMESAE_REDIS_URL"),
        ({"NAMESAE_IMAGES": "/proc/namesae"}, 3, "cannot be written"),
    ],
)
def test_what_cannot_be_reached_is_one_sentence(environ: dict[str, str], code: int, told: str) -> None:
    shown = namesae("name", "fake#0", "--quiet", **environ)
    assert (shown.returncode, shown.stdout) == (code, "")
    (line,) = shown.stderr.splitlines()
    assert told in line and "secret" not in line


LLM_FAULTS: dict[str, tuple[Fault, str]] = {
    "timeout": (Fault("delay", 2.0), "gave no whole answer within 1 s"),
    "prose": (Fault("text", "I think it is stripes."), "something that is no plan"),
    "half JSON": (Fault("cut"), "something that is no plan"),
    "10 MB": (Fault("raw", "x" * 10_000_000), "longer than"),
    "no credit": (status(429), "the account is at its limit"),
    "wrong key": (status(401), "correct OPENAI_API_KEY"),
}


@pytest.fixture
def llm(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    """An LLM that asks about stripes once and concludes; a key and a model of unknown price are set."""

    def rule(body: dict[str, Any]) -> dict[str, Any]:
        asked = sum("striped train" in json.dumps(message["content"]) for message in body["messages"])
        if asked:
            return plan("conclude", names=[name("striped"), name("fish")])
        return plan("draw", prompts=["striped train", "red fish"])

    served = FakeOpenAI(rule)
    with served.serve() as url:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("NAMESAE_OPENAI_TIMEOUT", "1")
        yield served


def test_a_model_of_unknown_price_needs_yes(llm: FakeOpenAI, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("name", "fake#0", "--quiet") == 2
    assert "pass --yes" in capsys.readouterr().err
    assert llm.requests == []
    assert here("name", "fake#0", "--yes") == 0
    told = capsys.readouterr()
    assert told.out.startswith("striped   named") and "LLM calls, price unknown" in told.out
    assert "openai:gpt-5-mini proposer" in told.err and "canary" not in told.out + told.err
    assert here("trace", "fake#0", "--json") == 0
    told_trace = capsys.readouterr().out
    assert '"asked"' in told_trace and "canary" not in told_trace


def test_a_limit_that_allows_no_verdict_is_exit_4_and_the_other_features_are_named() -> None:
    told = namesae("name", "fake#0,1,8", "--cost-limit", "0", "--json", OPENAI_API_KEY="sk-canary")
    assert told.returncode == 4
    launch, *features, done = records(told.stdout)
    assert launch["paid"] is True
    assert [each["verdict"] for each in features] == ["failed", "failed", "dead"]
    assert {each["code"] for each in features[:2]} == {"limit_usd"}
    assert (done["success"], done["exit_code"], done["asked"]) == (False, 4, 3)
    assert "fake#0 reached its limit of $0 for the LLM (--cost-limit)" in done["error"]
    assert done["error"].endswith("So did 1 other.") and f"Error: {done['error']}" in told.stderr


@pytest.mark.parametrize("kind", LLM_FAULTS)
def test_an_llm_that_fails_is_one_sentence_and_the_run_goes_on_afterwards(
    llm: FakeOpenAI, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    fault, told = LLM_FAULTS[kind]
    llm.faults = [fault] * 12
    assert here("name", "fake#0", "--yes", "--quiet") == 3
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert shown.out == "" and told in line and "continue the run" in line and "canary" not in line
    assert here("show", "fake#0") == 2
    capsys.readouterr()
    llm.faults = []
    assert here("name", "fake#0", "--yes", "--quiet") == 0
    assert capsys.readouterr().out.startswith("striped   named")


def test_a_redis_that_keeps_nothing_is_refused(redis_server: Any, tmp_path: Path) -> None:
    from tools.redis_server import find_binary

    binary = find_binary()
    assert binary is not None
    path = tmp_path / "forgetful.sock"
    server = subprocess.Popen(
        [binary, "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    try:
        deadline = time.monotonic() + 10
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        shown = namesae("name", "fake#0", "--quiet", REDIS_URL=f"unix://{path}")
    finally:
        server.kill()
        server.wait()
    assert shown.returncode == 3
    (line,) = shown.stderr.splitlines()
    assert "keeps nothing when it restarts" in line


def test_a_damaged_dictionary_is_exit_5(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "home" / "dictionaries" / "broken"
    folder.mkdir(parents=True)
    (folder / "dictionary.json").write_text("{")
    assert here("name", "broken#0") == 5
    assert "save or download the dictionary again" in capsys.readouterr().err
    assert here("dictionaries") == 0
    assert "damaged: " in capsys.readouterr().out


def test_every_error_of_a_dictionary_has_its_exit_code() -> None:
    kinds = [
        each
        for each in vars(sae.errors).values()
        if isinstance(each, type) and each.__module__ == "sae.errors"
    ]
    assert kinds and [each for each in kinds if each not in EXIT_CODES] == []
    order = list(EXIT_CODES)
    for at, kind in enumerate(order):
        assert not any(issubclass(later, kind) for later in order[at + 1 :])
