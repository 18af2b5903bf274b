"""``namesae sae extract`` and ``layers`` on folders of pictures and a real tiny backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from namesae import cli_sae_extract
from namesae.faults import fault_of
from namesae.sae_images import ImageChoice, open_images
from tests.image_folders import write_images
from tests.tiny_models import write_open_clip
from tools.errors import NamesaeError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures and a model, which we stand in."""
    write_images(tmp_path / "pictures", count=9, broken=(4,))
    write_open_clip(tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sae(*arguments: str) -> int:
    """The commands alone; the exit code of an error as the command line gives it."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    cli_sae_extract.add_to(app)
    try:
        return int(app([*arguments, "--quiet"], standalone_mode=False) or 0)
    except (NamesaeError, ValueError) as error:
        fault = fault_of(error)
        assert fault.expected, error
        told.append(fault.sentence)
        return fault.exit_code


told: list[str] = []
EXTRACT = ("extract", "pictures", "--backbone", "open_clip:clip", "--hook-point", "block.1,pooled")


def test_a_folder_becomes_a_store(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sae(*EXTRACT, "--out", "store", "--check", "--batch-size", "4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("block.1   patch   8 images x 16 = 128 rows of 16, fp16, 4.0 KiB   gamma ")
    assert lines[1].startswith("pooled   pooled   8 images x 1 = 8 rows of 16, fp16, 256 B   gamma ")
    assert lines[2] == "1 of 9 images skipped: class-0/004.png"
    assert lines[3].startswith("checked   every sum of ") and lines[4] == "store"


def test_the_record_says_the_same(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert sae(*EXTRACT, "--out", "store", "--dtype", "bf16", "--max-images", "5", "--json") == 0
    (record,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert (record["type"], record["dtype"]) == ("done", "bf16")
    assert record["images"] + len(record["skipped"]) == 5
    assert [part["hook_point"] for part in record["hook_points"]] == ["block.1", "pooled"]


def test_a_store_is_checked_without_its_images(here: Path) -> None:
    assert sae(*EXTRACT, "--out", "store") == 0
    assert sae("extract", "--out", "store", "--check") == 0
    path = here / "store" / "pooled" / "00000.bin"
    raw = bytearray(path.read_bytes())
    raw[5] ^= 1
    path.write_bytes(raw)
    assert sae("extract", "--out", "store", "--check") == 5
    assert "pooled/00000.bin is not what was written" in told[-1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("extract", "--out", "store"), "Give images to read"),
        (("extract", "nowhere", "--backbone", "open_clip:clip", "--hook-point", "pooled"), "do not exist"),
        (("extract", "pictures", "--hook-point", "pooled"), "Give the model to read"),
        (("extract", "pictures", "--backbone", "open_clip:clip"), "Say where to read with --hook-point"),
        (
            ("extract", "pictures", "--backbone", "keras:clip", "--hook-point", "pooled"),
            "is of no known kind",
        ),
        ((*EXTRACT, "--tokens", "pooled"), "'pooled' does not fit"),
        ((*EXTRACT, "--refuse-broken"), "004.png cannot be read"),
        (
            ("extract", "torchvision:cifar11", "--backbone", "open_clip:clip", "--hook-point", "pooled"),
            "is not known",
        ),
    ],
)
def test_a_mistake_is_one_sentence(here: Path, arguments: tuple[str, ...], sentence: str) -> None:
    given = arguments if "--out" in arguments else (*arguments, "--out", "store")
    assert sae(*given) == 2
    assert sentence in told[-1]


def test_another_store_is_not_overwritten(here: Path) -> None:
    assert sae(*EXTRACT, "--out", "store") == 0
    assert sae(*EXTRACT, "--out", "store", "--dtype", "fp32") == 2
    assert "was begun with another dtype (fp16, now fp32)" in told[-1]


def test_a_foreign_store_is_converted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.zeros((6, 4), "<f4").tofile(here / "train_6_4.npy")
    assert sae("extract", "--from", "train_6_4.npy", "--out", "ours", "--dtype", "fp32") == 0
    assert capsys.readouterr().out.startswith(
        "pooled   pooled   6 images x 1 = 6 rows of 4, fp32, 96 B   gamma none"
    )


def test_layers_are_a_table(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sae("layers", "pictures", "--backbone", "open_clip:clip") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["hook", "point"]
    assert [line.split()[0] for line in lines[1:-1]] == ["block.0", "block.1", "block.2", "pooled"]
    assert lines[-1] == "8 images, 1 skipped, 2 classes, kNN by chance 0.43"


def test_layers_are_records(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert (
        sae("layers", "pictures", "--backbone", "open_clip:clip", "--hook-point", "block.2,pooled", "--json")
        == 0
    )
    records: list[dict[str, Any]] = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [record["type"] for record in records] == ["layer", "layer", "done"]
    assert records[0]["hook_point"] == "block.2" and records[2]["alignment"][0]["second"] == "pooled"


def test_the_drawn_world_is_a_source() -> None:
    images = open_images(ImageChoice("sandbox.sets", most=3))
    assert len(images) == 3 and images.read(0).label in images.classes and len(images.classes) == 20
