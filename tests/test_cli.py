"""The command line end to end, on planted features and through the code that serves any dictionary."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from namesae import __version__, cli
from tests.fake_openai_server import FakeOpenAI, Fault, name, plan, status

ROOT = Path(__file__).parent.parent
LINE = re.compile(
    r"striped   named   AUROC 0\.\d\d \[0\.\d\d, \d\.\d\d\] \(ceiling 0\.\d\d\)   "
    r"fires on \d+ % of drawn images, \d+ % of control   \d+ \+ 50 images"
)
HEAVY = ("torch", "open_clip", "diffusers", "transformers", "timm", "langgraph", "openai")


@pytest.fixture(autouse=True)
def planted(redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The planted dictionary, this session's Redis, and images where writing is fast."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAMESAE_FAKES", "1")
    monkeypatch.setenv("REDIS_URL", redis_server.url)


@pytest.fixture(autouse=True)
def fast_images(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK):
        folder = memory / f"namesae-{os.getuid()}-{tmp_path_factory.getbasetemp().name}-{os.getpid()}"
        monkeypatch.setenv("NAMESAE_IMAGES", str(folder))


def start(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "namesae", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def namesae(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    with start(*arguments, **environ) as process:
        out, err = process.communicate(timeout=100)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def here(*arguments: str) -> int:
    """The same in this process, for what needs none of its own."""
    try:
        return cli.run(list(arguments))
    except SystemExit as ended:
        return int(str(ended.code))


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_feature_is_named_and_the_answer_is_stored_and_found_without_a_model_library() -> None:
    first = namesae("name", "fake#0")
    assert first.returncode == 0, first.stderr
    assert LINE.fullmatch(first.stdout.strip()), first.stdout
    assert "lexical proposer" in first.stderr and "sealed judge" in first.stderr
    probe = (
        "import sys; from namesae.cli import run; code = run(['name', 'fake#0', '--quiet']);"
        f"sys.exit([m for m in {HEAVY!r} if m in sys.modules] or code)"
    )
    again = subprocess.run(
        [sys.executable, "-c", probe],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith(first.stdout.strip() + "   stored 20")


def test_json_is_all_that_goes_to_stdout() -> None:
    told = namesae("name", "fake#0,8,4", "--json", "--max-images", "60", "--seed", "3")
    assert told.returncode == 0, told.stderr
    launch, *features, done = records(told.stdout)
    assert {record["schema"] for record in (launch, *features, done)} == {1}
    assert [launch["type"], *(each["type"] for each in features), done["type"]] == [
        "launch", "feature", "feature", "feature", "done",
    ]  # fmt: skip
    assert launch["features"] == ["fake#0", "fake#8", "fake#4"]
    assert (launch["version"], launch["proposer"], launch["seed"]) == (__version__, "lexical", 3)
    assert (launch["limits"]["images"], launch["limits"]["sealed"]) == (60, 50)
    assert [each["feature"]["index"] for each in features] == [0, 8, 4]
    assert [each["verdict"] for each in features] == ["named", "dead", "named"]
    assert (features[0]["name"], features[1]["name"]) == ("striped", None)
    assert set(features[2]["name"].split()) >= {"striped", "fish"}
    assert done["success"] and done["exit_code"] == 0
    assert done["verdicts"] == {"named": 2, "dead": 1}
    assert done["images"]["sealed"] == 100
    # Records are the same Explanations that Python returns.
    from agent.records import Explanation

    for each in features:
        Explanation.model_validate({k: v for k, v in each.items() if k not in ("schema", "type")})


def test_several_names_are_told_with_their_features_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("name", "fake#8,9", "--quiet") == 0
    assert capsys.readouterr().out.splitlines() == [
        "fake#8   (no name)   dead   0 + 0 images",
        "fake#9   (no name)   dense   0 + 0 images",
    ]
    assert here("name", "fake#8,9") == 0
    told = capsys.readouterr()
    assert "2 of 2 features: 1 dead, 1 dense; 0 images drawn" in told.err
    assert [re.search(r"stored \d{4}-\d\d-\d\d$", line) is not None for line in told.out.splitlines()] == [
        True
    ] * 2


def test_again_makes_a_new_run_and_keeps_the_old_one(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in ((), ("--again",)):
        assert here("name", "fake#8", "--quiet", *flags) == 0
    capsys.readouterr()
    assert here("show", "fake#8", "--json") == 0
    stored = records(capsys.readouterr().out)
    assert len({each["run"] for each in stored}) == 2 and all(each["type"] == "feature" for each in stored)
    assert here("show", "fake#8") == 0
    assert "Earlier:" in capsys.readouterr().out


def test_a_sample_by_truth_is_the_same_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    # Seven features would take long: the selection alone is what is looked at.
    from namesae.dictionaries import find_dictionary
    from namesae.selection import choose_features, parse_selection
    from namesae.settings import load_settings

    settings = load_settings()
    selection = parse_selection("fake#truth>=0.8")
    first = choose_features(selection, find_dictionary("fake", settings), sample=3, seed=7)
    assert first == choose_features(selection, find_dictionary("fake", settings), sample=3, seed=7)
    assert here("name", "fake#truth>=0.8", "--sample", "99") == 2
    assert "fewer than --sample 99" in capsys.readouterr().err


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_in_order_and_the_same_command_continues(number: signal.Signals) -> None:
    arguments = ("name", "fake#0,1,3,4,10", "--json")
    with start(*arguments) as process:
        assert process.stdout is not None and process.stderr is not None
        launch = process.stdout.readline()
        first = process.stdout.readline()
        assert json.loads(launch)["type"] == "launch" and json.loads(first)["type"] == "feature"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    done = records(out)[-1]
    assert (done["type"], done["exit_code"], done["success"]) == ("done", 128 + number, False)
    assert "the same command continues" in err and "Traceback" not in err
    rest = namesae(*arguments)
    assert rest.returncode == 0, rest.stderr
    _, *features, _ = records(rest.stdout)
    assert [each["feature"]["index"] for each in features] == [0, 1, 3, 4, 10]
    assert features[0]["stored"] and features[0]["name"] == json.loads(first)["name"]


def test_killed_at_any_moment_and_repeated_the_names_are_the_same(redis: Any) -> None:
    from tools.draw_log import DrawLog, interrupted, redrawn

    arguments = ("name", "fake#0,4", "--json", "--seed", "5")
    moments = random.Random(3)
    kills = 0
    for _ in range(4):
        with start(*arguments) as process:
            try:
                process.communicate(timeout=0.8 + 2.5 * moments.random())
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
    last = namesae(*arguments)
    assert last.returncode == 0, last.stderr
    _, *features, _ = records(last.stdout)
    entries = list(DrawLog(redis).entries())
    assert redrawn(entries) == [] and len(interrupted(entries)) <= kills
    assert features[0]["name"] == "striped" and set(features[1]["name"].split()) >= {"striped", "fish"}


def test_a_trace_is_text_json_or_a_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert here("name", "fake#0", "--quiet") == 0
    capsys.readouterr()
    assert here("trace", "fake#0") == 0
    text = capsys.readouterr().out
    assert "round 1: draw" in text and "sealed judge: striped" in text and LINE.search(text)
    page = tmp_path / "trace.html"
    assert here("trace", "fake#0", "--html", str(page)) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert "control, n = 1000" in page.read_text()
    assert here("trace", "fake#0", "--json") == 0
    (record,) = records(capsys.readouterr().out)
    assert record["type"] == "trace" and record["explanation"]["name"] == "striped"
    assert [each["what"]["kind"] for each in record["events"]][:2] == ["started", "observed"]
    assert len(record["control"]) == 1000
    assert here("trace", record["run"]) == 0


def test_dictionaries_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("dictionaries") == 0
    assert re.search(r"^fake +13 features", capsys.readouterr().out, re.MULTILINE)
    assert here("dictionaries", "--json") == 0
    assert {"fake"} <= {each["name"] for each in records(capsys.readouterr().out)}


def test_a_damaged_dictionary_is_exit_5(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "home" / "dictionaries" / "broken"
    folder.mkdir(parents=True)
    (folder / "dictionary.json").write_text("{")
    assert here("name", "broken#0") == 5
    assert "save or download the dictionary again" in capsys.readouterr().err
    assert here("dictionaries") == 0
    assert "damaged: " in capsys.readouterr().out


def test_help_and_bare_command_say_what_there_is() -> None:
    shown = namesae("--help")
    assert shown.returncode == 0
    for command in ("name", "show", "trace", "dictionaries", "doctor", "demo"):
        assert command in shown.stdout
    assert max(len(line) for line in shown.stdout.splitlines()) <= 100
    flags = namesae("name", "--help", COLUMNS="100").stdout
    for flag in (
        "--proposer",
        "--max-images",
        "--cost-limit",
        "--seed",
        "--sample",
        "--again",
        "--json",
        "--quiet",
    ):
        assert flag in flags


def test_the_version_is_the_packages() -> None:
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
