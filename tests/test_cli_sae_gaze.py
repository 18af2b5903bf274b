"""``namesae sae visualize``, ``steer``, ``taxonomy`` and ``vocabulary``: files, lines, JSON, refusals."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from namesae import cli_sae_gaze
from sae.activations import open_reader
from sae.taxonomy import Taxonomy
from tests.measured_models import pictures, write_clip_dictionary, write_pictures, write_timm_dictionary
from tools.errors import UsageError


def run(*arguments: str) -> int:
    """A command line in this process."""
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    cli_sae_gaze.add_to(app)
    return int(app(list(arguments), standalone_mode=False))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dictionaries on a block, another block and the embedding, a classifier's, and pictures in classes."""
    root = tmp_path_factory.mktemp("gaze")
    write_clip_dictionary(root)
    write_clip_dictionary(root, name="later", hook_point="block.2")
    write_clip_dictionary(root, name="end", hook_point="pooled", pooling="none")
    write_timm_dictionary(root)
    write_pictures(root / "pictures", 14)
    return root


@pytest.fixture(autouse=True)
def home(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMESAE_HOME", str(place / "home"))


@pytest.fixture(scope="module")
def lively(place: Path) -> str:
    """A feature of the classifier's dictionary that is active on some picture."""
    codes = open_reader(place / "tiny-vit")(pictures(14))
    return f"{place / 'tiny-vit'}#{int(codes.max(0).argmax())}"


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_visualize_draws_a_strip_and_says_how_active(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, given = place / "new" / "seen.png", ("--images", str(place / "pictures"), "--quiet")
    line = ("visualize", f"{place / 'tiny'}#3", "--steps", "6", "--seeds", "2", "--out", str(out), *given)
    assert run(*line) == 0
    said = capsys.readouterr()
    assert said.err == "" and said.out.endswith(f"{out}\n") and said.out.count("99th percentile") == 2
    with Image.open(out) as sheet:
        assert sheet.size[0] > 2 * 224 and sheet.size[1] >= 224
    assert run(*line, "--json") == 0
    (record,) = told(capsys)
    assert record["type"] == "visualisation" and record["p99"] > 0 and len(record["attempts"]) == 2
    assert record["attempts"][0]["activation"] >= record["attempts"][1]["activation"]


def test_visualize_needs_no_images(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run("visualize", f"{place / 'end'}#3", "--steps", "2", "--out", str(place / "b.png"), "--json") == 0
    )
    assert told(capsys)[0]["p99"] is None


def test_steer_says_words_before_and_after(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = str(next((place / "pictures").rglob("*.png")))
    given = ("--images", str(place / "pictures"), "--words", "fish, bird,cup", "--quiet", "--image", image)
    assert run("steer", f"{place / 'tiny'}#3,5", "--mode", "clamp", "--alpha", "50", *given, "--json") == 0
    (record,) = told(capsys)
    assert record["type"] == "steering" and len(record["features"]) == len(record["amounts"]) == 2
    shifts = record["outcome"]["shifts"]
    assert [shift["word"] for shift in shifts] == ["fish", "bird", "cup"]
    for when in ("before", "after"):
        assert sum(shift[when] for shift in shifts) == pytest.approx(1, abs=1e-4)
    assert run("steer", f"{place / 'tiny'}#3", *given, "--patches", "0-3,9") == 0
    said = capsys.readouterr().out
    assert "add" in said and "->" in said and " fish\n" in said


def test_steer_takes_the_strongest_image_and_a_classifiers_classes(
    place: Path, lively: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--images", str(place / "pictures"), "--quiet", "--json")
    assert run("steer", lively, "--mode", "ablate", *given) == 0
    assert run("steer", lively, "--mode", "scale", "--alpha", "200", *given) == 0
    ablated, scaled = told(capsys)
    assert ablated["image"] == scaled["image"] and ablated["outcome"]["before"][0] > 0
    assert scaled["amounts"] == [2.0]
    with pytest.raises(UsageError, match="leave out --words"):
        run("steer", lively, "--words", "a,b", *given)
    assert [each["word"] for each in ablated["outcome"]["shifts"]] == [f"class {at}" for at in range(5)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("steer", "{}/tiny#3", "--words", "fish"), "two or more"),
        (("steer", "{}/tiny#3", "--alpha", "101"), "Percentile 101"),
        (("steer", "{}/tiny#3", "--patches", "16"), "from 0 to 15"),
        (("steer", "{}/end#3", "--patches", "1"), "leave out --patches"),
        (("steer", "{}/tiny#3", "--template", "no place"), "no place for a word"),
        (("steer", "{}/tiny#3", "--image", "probe:14"), "0 to 13"),
        (("steer", "{}/tiny"), "names no feature"),
        (("taxonomy", "{}/tiny"), "two or more different"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    place: Path, arguments: tuple[str, ...], said: str
) -> None:
    filled = [each.replace("{}", str(place)) for each in arguments]
    with pytest.raises(UsageError, match=said):
        run(*filled, "--images", str(place / "pictures"), "--quiet")


def test_taxonomy_writes_tables_that_are_read_back(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, names = place / "taxonomy", [str(place / each) for each in ("tiny", "later", "end")]
    assert run("taxonomy", *names, "--images", str(place / "pictures"), "--out", str(out), "--quiet") == 0
    said = capsys.readouterr().out
    assert "CKNNA" in said and said.endswith(f"{out / 'taxonomy.json'}\n")
    found = Taxonomy.model_validate_json((out / "taxonomy.json").read_bytes())
    assert found.dictionaries == ("tiny", "later", "end") and len(found.overlaps) == 6 and found.images == 14
    with (out / "matches.csv").open(newline="") as file:
        matches = list(csv.DictReader(file))
    assert len(matches) == sum(each.compared for each in found.overlaps)
    with (out / "classes.csv").open(newline="") as file:
        classes = list(csv.DictReader(file))
    assert len(classes) == 3 * len(found.homes) == 9
    assert sum(int(each["told_best"]) for each in classes) == 3


def test_vocabulary_says_words_or_refuses(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = place / "words.txt"
    words.write_text("# sea\nfish\nwater\nbird\n")
    assert run("vocabulary", f"{place / 'end'}#3,7", "--words", str(words), "--count", "2", "--quiet") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.count(",") == 1 for line in lines)
    assert run("vocabulary", str(place / "end"), "--words", str(words), "--how", "softmax", "--json") == 0
    records = told(capsys)
    assert len(records) == 24
    assert sum(word["score"] for word in records[5]["words"]) == pytest.approx(1, abs=1e-4)
    with pytest.raises(UsageError, match="do not lie in the space of texts"):
        run("vocabulary", f"{place / 'tiny'}#3")
    with pytest.raises(UsageError, match="no text tower"):
        run("vocabulary", f"{place / 'tiny-vit'}#3")
    with pytest.raises(UsageError, match="cannot be read"):
        run("vocabulary", f"{place / 'end'}#3", "--words", str(place / "absent"))


def test_the_commands_import_no_torch() -> None:
    code = "import sys, namesae.cli_sae_gaze; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
