"""The commands that look into a dictionary: what they write, print and refuse, on tiny and shipped models."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from agent.request import Request
from agent.runs_store import RunStore
from namesae import cli_sae_look
from namesae.faults import fault_of
from sae.feature import Feature
from tests.test_lines import explained
from tests.tiny_dictionary import write_dictionary

SHIPPED = Path(__file__).parent.parent / "sandbox" / "models"


def run(*arguments: str) -> int:
    """The command's exit code; an error's sentence is raised as SystemExit."""
    app = typer.Typer()
    cli_sae_look.add_to(app)
    try:
        code = app(list(arguments), standalone_mode=False)
    except Exception as error:
        fault = fault_of(error)
        assert fault.expected, error
        raise SystemExit(f"{fault.exit_code}: {fault.sentence}") from error
    return int(code)


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dictionary(tmp_path_factory.mktemp("tiny"), generator=None)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    chance = np.random.default_rng(0)
    for number in range(9):
        colour = chance.integers(256, size=(2, 2, 3), dtype=np.uint8)
        Image.fromarray(colour).resize((40, 30), Image.Resampling.BILINEAR).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def redis_url(monkeypatch: pytest.MonkeyPatch, redis_server: Any, redis: Any) -> str:
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    return str(redis_server.url)


def test_collages_and_a_table_are_written(
    dictionary: Path,
    pictures: Path,
    tmp_path: Path,
    redis_url: str,
    redis: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on, _ = active(dictionary, pictures)
    feature = Feature(dictionary=str(dictionary), index=on)
    request = Request(feature=feature, models="", proposer="lexical")
    runs = RunStore(redis)
    name = runs.begin(request, now=1.0)
    runs.finish(request, explained("=striped").model_copy(update={"feature": feature, "run": name}), now=2.0)
    out = tmp_path / "out"
    asked = ("collage", str(dictionary), "--images", str(pictures), "--out", str(out), "--tile", "32")
    assert run(*asked, "--features", f"0-2,{on}", "--grid", "2x3") == 0
    told = capsys.readouterr()
    assert told.out == f"{out / 'interpretations.csv'}\n"
    assert "read 9 of 9 images" in told.err and "=striped" in told.err
    with (out / "interpretations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    said = {int(row["feature_id"]): row["interpretation"] for row in rows}
    assert said == dict.fromkeys(range(3), "") | {on: "'=striped"}
    with Image.open(out / rows[0]["collage_path"]) as sheet:
        assert sheet.size == (96, 64)
    assert run(*asked, "--top", "5", "--quiet", "--json") == 0
    told = capsys.readouterr()
    assert told.err == ""
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert {line["type"] for line in lines} == {"collage"} and len(lines) >= 5


def test_names_are_left_out_where_their_store_is_unreachable(
    dictionary: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    out = tmp_path / "out"
    assert run("collage", str(dictionary), "--images", str(pictures), "--out", str(out), "--top", "2") == 0
    assert "Stored names are left out" in capsys.readouterr().err


def test_a_map_is_drawn_over_a_picture(
    dictionary: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    feature, image = active(dictionary, pictures)
    out = tmp_path / "deep" / "map.png"
    asked = ("relevance", f"{dictionary}#{feature}", "--image", str(image), "--out", str(out))
    assert run(*asked, "--method", "occlusion", "--check") == 0
    told = capsys.readouterr().out.splitlines()
    assert f"on {image} by occlusion: activation" in told[0] and "of 4, column" in told[0]
    assert told[1].startswith("covered from the highest patch on, area ") and told[2] == str(out)
    with Image.open(out) as drawn:
        assert drawn.size == (448, 448)
    assert run(*asked, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["type"], record["method"], record["check"]) == ("relevance", "chefer-rows", None)
    assert np.array(record["map"]).shape == (4, 4) and record["score"] > 0


def active(dictionary: Path, pictures: Path) -> tuple[int, Path]:
    from sae.activations import open_reader

    image = pictures / "4.png"
    with Image.open(image) as opened:
        return int(open_reader(dictionary)([opened])[0].argmax()), image


def test_what_cannot_be_drawn_is_said_in_a_sentence(dictionary: Path, pictures: Path, tmp_path: Path) -> None:
    feature, image = active(dictionary, pictures)
    out = ("--out", str(tmp_path / "map.png"))
    one = ("relevance", f"{dictionary}#{feature}", "--image", str(image), *out)
    for arguments, sentence in (
        ((*one, "--method", "lrp"), "2: Method 'lrp' does not exist"),
        ((*one, "--method", "activation"), "2: Method 'activation' shows"),
        (("relevance", str(dictionary), "--image", str(image), *out), "not of the form DICTIONARY#INDEX"),
        (("relevance", f"{dictionary}#40", "--image", str(image), *out), "0 to 39"),
        (("relevance", str(dictionary), "--word", "red", *out), "no strongest image"),
        (("relevance", f"{dictionary}#{feature}", "--image", "gone.png", *out), "gone.png cannot be read"),
        (("collage", str(dictionary), "--images", str(pictures), "--grid", "4by3", *out), "write 4x3"),
        (("collage", str(dictionary), "--images", str(pictures), "--features", "99", *out), "0 to 39"),
        (
            ("collage", str(dictionary), "--images", str(tmp_path / "none"), *out),
            "none' do not exist; give a folder",
        ),
        (("collage", "nothing", *out), "'nothing' does not exist"),
    ):
        with pytest.raises(SystemExit) as ended:
            run(*arguments)
        assert sentence in str(ended.value)
    assert not (tmp_path / "map.png").is_file()


def examples() -> list[str]:
    """The command lines of the help."""
    helps = [cli_sae_look.collage.__doc__ or "", cli_sae_look.relevance.__doc__ or ""]
    lines = [line.strip() for text in helps for line in text.splitlines()]
    return [line.removeprefix("namesae sae ") for line in lines if line.startswith("namesae sae ")]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_examples_of_the_help_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    assert len(examples()) == 7
    for line in examples():
        assert run(*shlex.split(line)) == 0


def test_a_sandbox_word_is_found_on_its_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sandbox.sets import image_set

    row = next(
        at
        for at, scene in enumerate(image_set("probe").scenes)
        if (scene.object, scene.size, scene.count) == ("fish", "big", 1)
    )
    out = ("--out", str(tmp_path / "word.png"), "--json")
    assert run("relevance", "sandbox", "--word", "fish", "--image", f"probe:{row}", *out) == 0
    found = np.array(json.loads(capsys.readouterr().out)["map"])
    assert found[2:6, 2:6].mean() > 1.2 * found.mean()
    assert all(1 <= at <= 6 for at in divmod(int(found.argmax()), 8))
    with pytest.raises(SystemExit, match="Word 'elephant' is unknown here"):
        run("relevance", "sandbox", "--word", "elephant", "--image", f"probe:{row}", *out)
    with pytest.raises(SystemExit, match="there are 0 to 2999"):
        run("relevance", "sandbox#68", "--image", "probe:3000", *out)
