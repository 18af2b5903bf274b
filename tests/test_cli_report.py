"""``namesae report``: as text, as JSON, as a page, and each way it is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import redis as redis_module
from PIL import Image

from agent.records import Cost, ImageCount
from namesae.settings import load_settings
from namesae.wiring import open_state
from tests.command_line import here, plant
from tests.named_features import finish, score, state_of, told

HOSTILE = "<script>alert(1)</script>\x1b[31m"


@pytest.fixture
def icon(
    redis: redis_module.Redis, redis_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A picture that is stored, of one of six features with a verdict."""
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)
    with open_state(load_settings()) as state:
        picture = state.images.put(Image.new("RGB", (64, 64), "red"))
        known = told(1, "fish", auroc=0.95)
        assert known.evidence is not None
        shown = known.evidence.model_copy(
            update={"exemplars": (known.evidence.exemplars[0].model_copy(update={"image": picture}),)}
        )
        finish(
            state,
            known.model_copy(update={"evidence": shown, "cost": Cost(usd=0.25)}),
            told(2, "Fish", auroc=0.75, images=ImageCount(search=10), cost=Cost(usd=0.5)),
            told(3, "red", auroc=0.53, verdict="weak", images=ImageCount(search=100), cost=Cost(usd=0.0)),
            told(4, HOSTILE, auroc=0.85, images=ImageCount(search=50), cost=Cost(usd=0.0)),
            told(6, None, verdict="dead", cost=Cost(usd=0.0)),
            told(8, None, verdict="unexplained", cost=Cost(usd=0.0)),
        )
    return picture


def report(*arguments: str) -> int:
    """The command in this process; its exit code."""
    return here("report", *arguments)


def test_the_lines_say_how_far_and_how_well(icon: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report("fake") == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"fake: 6 of \d+ features \([\d.]+ %\) have a verdict, 4 a name\.", lines[0])
    text = "\n".join(lines)
    assert re.search(r"named +3 +50 %", text) and re.search(r"dead +1 +17 %", text)
    assert "median 0.80, middle half 0.70 to 0.88 of 4 named" in text
    assert "median 0.08, middle half 0.08 to 0.08 wide; 1 reach chance" in text
    assert "median 24, middle half 24 to 44 a feature" in text
    assert re.search(r"dollars +0\.7500", text)
    assert "Names that several features have: 1" in text and "fish: #1, #2" in text
    assert "\x1b" not in text


def test_json_is_one_line_with_every_figure(icon: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report("fake", "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["schema"], found["type"], found["dictionary"]) == (1, "report", "fake")
    assert {each["verdict"]: each["count"] for each in found["verdicts"]} == {
        "named": 3,
        "weak": 1,
        "dead": 1,
        "unexplained": 1,
    }
    assert found["answered"] == 6 and found["named"] == 4 and found["at_chance"] == 1
    assert found["auroc"]["features"] == 4 and found["auroc"]["median"] == pytest.approx(0.8)
    assert found["interval"]["median"] == pytest.approx(score(0.7).auroc_ci.high - score(0.7).auroc_ci.low)
    assert found["search_images"]["features"] == 6 and found["usd"] == pytest.approx(0.75)
    assert found["shared"] == [{"name": "fish", "features": [1, 2]}]
    assert found["first"] < found["last"]


def test_runs_that_failed_give_no_verdict(
    icon: str, redis: redis_module.Redis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = state_of(redis, tmp_path)
    finish(state, told(5, None, verdict="failed", code="llm_unreachable", cost=Cost(usd=9.0)))
    finish(state, told(1, None, seed=1, verdict="cancelled"))
    assert report("fake", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["answered"], found["failed"], found["usd"]) == (6, 1, pytest.approx(0.75))
    assert report("fake") == 0
    assert re.search(r"no verdict +1 more", capsys.readouterr().out)


def test_a_picture_that_is_damaged_is_left_out(icon: str, tmp_path: Path) -> None:
    with open_state(load_settings()) as state:
        damaged = Path(state.images.path_or_url(icon))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-5])
    try:
        assert report("fake", "--html", str(tmp_path / "report.html")) == 0
    finally:
        damaged.write_bytes(whole)  # all tests share the store
    assert "data:image" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_price_that_nobody_knows_is_no_sum(
    icon: str, redis: redis_module.Redis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(state_of(redis, tmp_path), told(5, "boat", cost=Cost(usd=None)))
    assert report("fake", "--json") == 0
    assert json.loads(capsys.readouterr().out)["usd"] is None
    assert report("fake") == 0
    assert "price unknown" in capsys.readouterr().out


def test_the_page_needs_nothing_and_obeys_no_name(
    icon: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "made" / "report.html"
    assert report("fake", "--html", str(path)) == 0
    assert capsys.readouterr().out == f"{path}\n"
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page) and "url(" not in page
    rows = re.findall(r'<td class="n">#(\d+)</td>\n<td>(.*?)</td>', page)
    assert [int(index) for index, _ in rows] == [1, 4, 2, 3, 6, 8], "best first, unjudged last"
    assert page.count("data:image/webp;base64,") == 1, "one picture is stored, the others are missing"
    assert "0.95 [0.90, 0.98]" in page
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "'nothing' does not exist"),
        (["fake"], "namesae batch fake names them"),
        (["fake", "--html", "."], "is a folder"),
        (["fake", "--html", "file/report.html"], "file is no folder"),
        ([], "DICTIONARY"),
    ],
)
def test_what_cannot_be_told_is_refused(
    redis: redis_module.Redis,
    redis_server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)
    (tmp_path / "file").touch()
    if "file/report.html" in arguments:
        finish(state_of(redis, tmp_path), told(1))
    assert report(*arguments) == 2
    assert sentence in capsys.readouterr().err
