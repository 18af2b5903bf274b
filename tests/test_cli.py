"""The command line end to end, on planted features and through the code that serves any dictionary."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from namesae import __version__
from tests.command_line import ROOT, here, namesae, plant, records, start

LINE = re.compile(
    r"striped   named   AUROC 0\.\d\d \[0\.\d\d, \d\.\d\d\] \(ceiling 0\.\d\d\)   "
    r"fires on \d+ % of drawn images, \d+ % of control   \d+ \+ 50 images"
)
HEAVY = ("torch", "open_clip", "diffusers", "transformers", "timm", "langgraph", "openai")


@pytest.fixture(autouse=True)
def planted(redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)


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
    assert "Other runs:" in capsys.readouterr().out


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
