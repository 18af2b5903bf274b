"""Batches end to end on planted features: killed, shared by two processes, stopped by budgets, continued."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import here, namesae, plant, records, start
from tools.draw_log import DrawLog

FEW = ("--features", "0,1,8,3")


@pytest.fixture(autouse=True)
def planted(redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)


def drawn_twice(redis: Any) -> list[str]:
    recorded = [
        image for each in DrawLog(redis).entries() if each.event == "recorded" for image in each.images
    ]
    return sorted({image for image in recorded if recorded.count(image) > 1})


def features_of(told: list[dict[str, Any]]) -> dict[int, tuple[str | None, int]]:
    return {
        each["feature"]["index"]: (each["name"], each["images"]["search"])
        for each in told
        if each["type"] == "feature"
    }


def test_a_batch_surveys_names_in_its_order_and_is_found_again(redis: Any) -> None:
    first = namesae("batch", "fake", *FEW, "--json")
    assert first.returncode == 0, first.stderr
    told = records(first.stdout)
    assert [each["type"] for each in told] == ["launch", "survey", *["feature"] * 4, "done"]
    launch, survey, *found, done = told
    assert (launch["features"], launch["done"]) == (4, 0)
    assert 0 < survey["charged"] == survey["images"] <= 4
    # What draws nothing comes last.
    assert found[-1]["feature"]["index"] == 8 and sorted(features_of(found)) == [0, 1, 3, 8]
    assert done["verdicts"] == {"named": 3, "dead": 1}
    search = [each["images"]["search"] for each in found]
    assert done["search"]["total"] == pytest.approx(sum(search) + survey["charged"])
    assert done["survey_share"] == pytest.approx(survey["charged"] / done["search"]["total"])
    again = records(namesae("batch", "fake", *FEW, "--json").stdout)
    assert again[0]["batch"] == launch["batch"] and again[0]["done"] == 4
    assert features_of(again) == features_of(told) and again[-1]["search"] == done["search"]
    assert all(each["stored"] for each in again if each["type"] == "feature")
    assert drawn_twice(redis) == []


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("batch", "fake", "--features", "0,8", "--no-survey") == 0
    told = capsys.readouterr()
    assert [line.split("   ")[:3] for line in told.out.splitlines()] == [
        ["fake#0", "striped", "named"],
        ["fake#8", "(no name)", "dead"],
    ]
    assert "No survey." in told.err and "2 of 2, 1 named, 1 abstained" in told.err
    assert "2 of 2 features have a verdict" in told.err
    assert here("show", "fake#0") == 0
    assert "race images; itself" in capsys.readouterr().out


@pytest.mark.timeout(300)
def test_killed_it_goes_on_with_the_same_names_and_draws_nothing_again(redis: Any) -> None:
    whole = records(namesae("batch", "fake", *FEW, "--json").stdout)
    redis.flushdb()
    with start("batch", "fake", *FEW, "--json") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["type"] == "feature":
                break
        process.send_signal(signal.SIGKILL)
    ended = namesae("batch", "fake", *FEW, "--json")
    assert ended.returncode == 0, ended.stderr
    told = records(ended.stdout)
    assert told[0]["batch"] == whole[0]["batch"] and told[0]["done"] >= 1
    assert features_of(told) == features_of(whole)
    assert (told[1]["charged"], told[-1]["search"]) == (whole[1]["charged"], whole[-1]["search"])
    assert drawn_twice(redis) == []


@pytest.mark.timeout(300)
def test_a_signal_lets_the_step_end_and_the_batch_is_resumed_by_its_id(redis: Any) -> None:
    with start("batch", "fake", *FEW, "--json") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(json.loads(line))
            if lines[-1]["type"] == "feature":
                process.send_signal(signal.SIGINT)
                break
        lines += records(process.stdout.read())
    assert process.returncode == 130 and lines[-1]["type"] == "done" and not lines[-1]["success"]
    resumed = namesae("batch", lines[0]["batch"], "--resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert len(features_of(records(resumed.stdout))) == 4
    assert drawn_twice(redis) == []


@pytest.mark.timeout(300)
def test_two_processes_share_a_batch(redis: Any) -> None:
    with start("batch", "fake", *FEW, "--json") as one, start("batch", "fake", *FEW, "--json") as other:
        outs = [process.communicate(timeout=100) for process in (one, other)]
    assert [process.returncode for process in (one, other)] == [0, 0], outs
    first, second = (records(out) for out, _ in outs)
    assert features_of(first) == features_of(second) and len(features_of(first)) == 4
    assert first[0]["batch"] == second[0]["batch"] and first[-1]["search"] == second[-1]["search"]
    named = [
        each["feature"]["index"]
        for each in (*first, *second)
        if each["type"] == "feature" and not each["stored"]
    ]
    assert sorted(named) == [0, 1, 3, 8]
    assert drawn_twice(redis) == []


@pytest.mark.timeout(300)
def test_a_limit_of_the_batch_stops_it_and_a_larger_one_goes_on() -> None:
    stopped = namesae("batch", "fake", *FEW, "--json", "--batch-images", "160")
    assert stopped.returncode == 4, stopped.stderr
    done = records(stopped.stdout)[-1]
    assert done["unasked"] > 0 and "limit of the batch" in done["error"]
    spent = done["search"]["total"] + done["sealed"]["total"]
    assert 0 < done["done"] < 4 and spent <= 160
    ended = namesae("batch", "fake", *FEW, "--json", "--batch-images", "2000")
    assert ended.returncode == 0, ended.stderr
    launch, *_, last = records(ended.stdout)
    assert launch["batch"] == done["batch"] and launch["done"] == done["done"]
    assert (last["done"], last["unasked"]) == (4, 0)


def test_what_was_named_before_costs_the_batch_nothing() -> None:
    assert here("name", "fake#0", "--quiet") == 0
    told = records(namesae("batch", "fake", "--features", "0", "--no-survey", "--json").stdout)
    assert told[-1]["search"]["total"] == 0 and told[2]["stored"]


def test_nothing_is_done_for_a_dry_run(redis: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("batch", "fake", "--dry-run") == 0
    told = capsys.readouterr().out
    assert "13 features" in told and "survey       at most 13 more images" in told
    assert here("batch", "fake", "--dry-run", "--json", "--batch-images", "40") == 0
    assert records(capsys.readouterr().out)[0]["survey"] == 10
    assert here("batch", "fake", "--dry-run", "--no-survey") == 0
    assert "survey" not in capsys.readouterr().out
    assert DrawLog(redis).entries() is not None and not list(DrawLog(redis).entries())
    assert here("name", "fake#0", "--quiet") == 0
    capsys.readouterr()
    assert here("batch", "fake", "--dry-run") == 0
    told = capsys.readouterr().out
    assert "1 of them stored" in told and "at most 13 more images" in told, "it surveys for all"


@pytest.mark.parametrize(
    "arguments",
    [
        ("batch", "no-such", "--resume"),
        ("batch", "fake", "--features", "99"),
        ("batch", "fake", "--batch-images", "0"),
        ("batch", "nowhere"),
    ],
)
def test_mistakes_are_told_with_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert here(*arguments) == 2
