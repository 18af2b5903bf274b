from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import typer

from namesae import cli_sae_extract, cli_sae_train
from sae.activations import open_reader
from sae.card import read_card
from sae.dictionary import load_dictionary
from sae.errors import BadCheckpoint, BadRecipe
from sae.event_file import read_log
from sae.trainer.recipe_file import read_recipes
from tests.image_folders import write_images
from tests.tiny_models import WIDTH, write_open_clip
from tools.errors import UsageError

SMALL = ["--set", "n_features=48", "--set", "k=3", "--set", "batch_size=20", "--set", "steps=30"]
SIMPLE = ["--preset", "namesae-topk", *SMALL, "--log-every", "10"]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, a model and a store of two of its hook points."""
    root = tmp_path_factory.mktemp("train")
    write_images(root / "pictures", count=13)
    write_open_clip(root / "clip")
    given = [str(root / "pictures"), "--backbone", f"open_clip:{root / 'clip'}", "--hook-point"]
    assert run("extract", *given, "block.1,pooled", "--out", str(root / "store"), "--quiet") == 0
    return root


def run(*arguments: str) -> int:
    app = typer.Typer()
    cli_sae_extract.add_to(app)
    cli_sae_train.add_to(app)
    code: int = app(list(arguments), standalone_mode=False)
    return code


def train(places: Path, out: Path, *arguments: str) -> int:
    given = ("train", str(places / "store"), "--out", str(out), "--hook-point", "block.1")
    return run(*given, *(arguments or SIMPLE))


def test_a_store_becomes_a_dictionary_that_reads_images(
    places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(places, tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "gamma" in said.err and "topk 16 -> 48" in said.out and "FVU 0." in said.out
    card = read_card(tmp_path / "out")
    assert (card.name, card.hook_point, card.pooling, card.width) == ("out", "block.1", "max", WIDTH)
    assert card.probe_set is not None and card.probe_set.images == 13
    from PIL import Image

    picture = Image.open(next((places / "pictures").rglob("*.png")))
    assert open_reader(tmp_path / "out")([picture]).shape == (1, 48)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("dictionary.json", "dictionary.safetensors", "recipe.yaml", "logs"),
    }
    assert read_recipes(tmp_path / "out" / "recipe.yaml")["recipe"].steps == 30


def test_several_presets_train_on_one_pass(places: Path, tmp_path: Path) -> None:
    presets = ["--preset", "dn-cbm, saev-matryoshka", "--quiet"]
    assert train(places, tmp_path / "out", *presets, *SMALL, "--log-every", "10") == 0
    cards = {name: read_card(tmp_path / "out" / name) for name in ("dn-cbm", "saev-matryoshka")}
    assert [card.architecture for card in cards.values()] == ["relu", "batchtopk"]
    tags = {each.tag for each in read_log(tmp_path / "out" / "logs")}
    assert {"dn-cbm/fvu", "saev-matryoshka/l0", "saev-matryoshka/k"} <= tags


def test_images_are_read_on_the_fly_as_from_a_store(
    places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--backbone", f"open_clip:{places / 'clip'}", "--hook-point", "pooled"]
    given = ["train", str(places / "pictures"), *model, *SIMPLE, "--set", "batch_size=5"]
    assert run(*given, "--out", str(tmp_path / "out")) == 0
    card = read_card(tmp_path / "out")
    assert (card.pooling, card.hook_point, card.width) == ("none", "pooled", WIDTH)
    assert "read through the model about 12 times: run namesae sae extract first" in capsys.readouterr().err
    few = [*given, "--set", "steps=8", "--dry-run", "--out", str(tmp_path / "few")]
    assert run(*few) == 0 and "through the model" not in capsys.readouterr().err


def test_an_array_needs_to_be_told_its_model(places: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.random.default_rng(0).normal(size=(61, WIDTH)).astype(np.float32))
    given = ["train", str(path), *SIMPLE, "--quiet", "--out", str(tmp_path / "out")]
    with pytest.raises(UsageError, match="does not say which model it is of"):
        run(*given)
    model = ["--backbone", f"open_clip:{places / 'clip'}", "--hook-point", "pooled"]
    assert run(*given, *model, "--tokens", "pooled") == 0


def interrupt_at(checkpoint: Path) -> threading.Thread:
    """Send this process the signal of Ctrl-C as soon as there is a checkpoint."""

    def watch() -> None:
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_stopped_training_continues_to_the_same_dictionary(
    places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = [*SIMPLE, "--set", "steps=120", "--quiet", "--checkpoint-every", "1", "--log-every", "1"]
    assert train(places, tmp_path / "whole", *long) == 0
    out = tmp_path / "out"
    thread = interrupt_at(out / "checkpoint.safetensors")
    assert train(places, out, *long) == 128 + signal.SIGINT
    thread.join()
    assert "--resume continues" in capsys.readouterr().err
    assert (out / "checkpoint.safetensors").exists() and not (out / "dictionary.json").exists()
    with pytest.raises(UsageError, match="is not empty; continue with --resume"):
        train(places, out, *long)
    with pytest.raises(BadCheckpoint, match="other recipes"):
        train(places, out, *long, "--set", "k=4", "--resume")
    assert train(places, out, *long, "--resume") == 0
    one, other = (load_dictionary(tmp_path / name) for name in ("whole", "out"))
    assert torch.equal(one.W_dec, other.W_dec) and torch.equal(one.W_enc, other.W_enc)
    assert [each.step for each in read_log(out / "logs") if each.tag == "fvu"] == list(range(1, 121))
    assert train(places, out, *long, "--resume") == 0
    assert "trained already" in capsys.readouterr().err


def test_a_dry_run_trains_nothing(places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(places, tmp_path / "out", *SIMPLE, "--dry-run") == 0
    said = capsys.readouterr()
    assert "effective rank" in said.err and "n_features: 48" in said.out
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_json_lines_say_what_was_trained(places: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from tests.test_cli_sae_train import train; from pathlib import Path;"
        "sys.exit(train(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))"
    )
    command = [sys.executable, "-c", script, str(places), str(tmp_path / "out"), *SIMPLE, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    launch, made = (json.loads(line) for line in done.stdout.splitlines())
    assert (launch["type"], made["type"]) == ("launch", "dictionary")
    assert launch["recipes"]["namesae-topk"]["n_features"] == 48 and launch["diagnosis"]["width"] == WIDTH
    assert 0 < made["fvu"] < 1 and made["l0"] <= 3


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ([], UsageError, "Give a recipe"),
        (["--preset", "dn-cmb"], BadRecipe, "did you mean 'dn-cbm'"),
        (["--preset", "dn-cbm", "--set", "lr=1"], BadRecipe, "did you mean optimiser.lr"),
        (["--preset", "dn-cbm,openai-topk"], BadRecipe, "batch_size differs"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    arguments: list[str], error: type[Exception], says: str, places: Path, tmp_path: Path
) -> None:
    given = ("train", str(places / "store"), "--out", str(tmp_path / "out"), "--hook-point", "block.1")
    with pytest.raises(error, match=says):
        run(*given, *arguments)
    assert not (tmp_path / "out").exists()


def test_a_log_becomes_a_table(places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(places, tmp_path / "out", *SIMPLE, "--quiet") == 0
    capsys.readouterr()
    assert run("log", str(tmp_path / "out" / "logs"), "--tags", "fvu,l0") == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head == "| epoch | fvu | l0 |" and len(lines) >= 2
    target = tmp_path / "it.csv"
    assert run("log", str(tmp_path / "out"), "--format", "csv", "--out", str(target)) == 0
    assert target.read_text().startswith("epoch,logs/dead,logs/fvu,logs/k,logs/l0,logs/loss,logs/lr\n")
    with pytest.raises(UsageError, match="Tag 'zzz' is not in"):
        run("log", str(tmp_path / "out" / "logs"), "--tags", "zzz")


def test_the_commands_import_no_torch_to_be_listed() -> None:
    code = "import sys, namesae.cli_sae_train; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
