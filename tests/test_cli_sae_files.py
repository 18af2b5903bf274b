"""``namesae sae import``, ``export``, ``clean``, ``push`` and ``pull`` on the dictionaries shipped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
import typer

from namesae import cli_sae_files
from namesae.cli_sae_files import Form
from namesae.faults import fault_of
from namesae.sae_files import parse_mapping
from sae.card import read_card
from sae.dictionary import load_dictionary
from sae.errors import BadDictionary, ModelUnreachable, UnfitRequest
from sae.exports.export import TARGETS
from tests.command_line import ROOT
from tests.format_files import case
from tools.errors import IntegrityError, UsageError

MODELS = ROOT / "sandbox" / "models"
CLIP = f"open_clip:{MODELS / 'clip'}"


def sae(*arguments: str | Path) -> int:
    """One command, in this process; its exit code."""
    app = typer.Typer(rich_markup_mode=None)
    cli_sae_files.add_to(app)
    code = app([str(each) for each in arguments], standalone_mode=False)
    return int(code or 0)


def test_a_dictionary_goes_out_and_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lens, back = tmp_path / "lens", tmp_path / "back"
    assert sae("export", "sandbox", "--format", "saelens", "--out", lens) == 0
    assert sae("import", lens, "--backbone", CLIP, "--hook-point", "pooled", "--out", back) == 0
    said = capsys.readouterr().out
    assert "read as saelens   topk, 384 features of width 128" in said and "differ by" in said
    first, second = load_dictionary(MODELS / "sandbox"), load_dictionary(back)
    x = first.mean + torch.randn(40, 128, generator=torch.Generator().manual_seed(0)) / first.scale
    assert torch.allclose(first.reconstruct(x), second.reconstruct(x), atol=1e-5)
    card = read_card(back)
    assert (card.name, card.hook_point, card.pooling) == ("back", "pooled", "none")
    with pytest.raises(UsageError, match="exists already"):
        sae("import", lens, "--backbone", CLIP, "--hook-point", "pooled", "--out", back)


def test_a_wrong_layer_is_found_on_real_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sae("export", "sandbox-patch", "--format", "sparsify", "--out", tmp_path / "block")
    capsys.readouterr()
    wrong: list[str | Path] = [
        "import",
        tmp_path / "block",
        "--backbone",
        CLIP,
        "--hook-point",
        "block.1",
        "--pooling",
        "max",
    ]
    wrong += ["--verify", "sandbox.sets", "--images", "20", "--out", tmp_path / "in"]
    with pytest.raises(IntegrityError, match=r"block\.2 patch: as loaded"):
        sae(*wrong)
    assert not (tmp_path / "in").exists()
    assert sae(*wrong, "--accept", "best") == 0
    assert "verified   Another reading fits better: block.2 patch" in capsys.readouterr().out
    assert read_card(tmp_path / "in").hook_point == "block.2"


def test_a_right_import_is_confirmed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sae("export", "sandbox", "--format", "msae", "--out", tmp_path / "msae")
    assert (
        sae(
            "import",
            tmp_path / "msae",
            "--backbone",
            CLIP,
            "--verify",
            "sandbox.sets",
            "--out",
            tmp_path / "in",
        )
        == 0
    )
    assert "verified   The reading fits: FVU 0.0" in capsys.readouterr().out


def test_any_file_that_loads_can_be_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    source = case("sparsify").write(tmp_path / "in", 1).path
    assert sae("export", source, "--format", "saev", "--out", tmp_path / "sae.pt") == 0
    assert (tmp_path / "sae.pt").is_file()
    with pytest.raises(UsageError, match="does not exist"):
        sae("export", "nothing-like-it", "--format", "saev", "--out", tmp_path / "other.pt")


def test_a_checkpoint_is_cleaned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = case("martetten-epoch").write(tmp_path, 1).path
    assert sae("clean", path, "--k", "3", "--out", tmp_path / "clean.pth") == 0
    assert "left out   optimizer_state_dict" in capsys.readouterr().out


def test_what_a_file_does_not_say_must_be_said(tmp_path: Path) -> None:
    sae("export", "sandbox", "--format", "saelens", "--out", tmp_path / "lens")
    with pytest.raises(BadDictionary, match="does not tell where its backbone is"):
        sae("import", tmp_path / "lens", "--hook-point", "pooled", "--out", tmp_path / "in")
    with pytest.raises(UsageError, match="of no known kind"):
        sae("import", tmp_path / "lens", "--backbone", "keras:x", "--out", tmp_path / "in")
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("import {}/lens --flavor martetten --out {}/in", "does not hold what a file of martetten does"),
        ("import {}/lens --flavor sealens --out {}/in", "there is no flavor 'sealens'; have saev"),
        ("import {}/lens --out {}/in", "does not tell where its backbone is"),
        ("import {}/lens --mapping W_enc=up --out {}/in", "it holds no up, but"),
        ("export sandbox --format sparsify --out {}/lens", "exists already"),
    ],
)
def test_what_does_not_fit_a_sound_dictionary_is_a_mistake_of_usage(
    tmp_path: Path, arguments: str, said: str
) -> None:
    sae("export", "sandbox-vit", "--format", "saelens", "--out", tmp_path / "lens")
    with pytest.raises(UnfitRequest, match=said) as caught:
        sae(*arguments.replace("{}", str(tmp_path)).split())
    assert fault_of(caught.value).exit_code == 2


def test_a_damaged_dictionary_is_no_mistake_of_usage(tmp_path: Path) -> None:
    sae("export", "sandbox-vit", "--format", "saelens", "--out", tmp_path / "lens")
    weights = next((tmp_path / "lens").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(BadDictionary, match="download or save it again") as caught:
        sae("import", tmp_path / "lens", "--flavor", "martetten", "--out", tmp_path / "out")
    assert fault_of(caught.value).exit_code == 5


def test_a_mapping_names_the_weights_of_a_strange_file(tmp_path: Path) -> None:
    chance = torch.Generator().manual_seed(0)
    torch.save({"up": torch.randn(300, 128, generator=chance), "bias": torch.zeros(300)}, tmp_path / "odd.pt")
    arguments = [
        "--mapping",
        "W_enc=up.T,b_enc=bias",
        "--k",
        "3",
        "--backbone",
        CLIP,
        "--hook-point",
        "pooled",
    ]
    assert sae("import", tmp_path / "odd.pt", *arguments, "--out", tmp_path / "in") == 0
    assert load_dictionary(tmp_path / "in").n_features == 300
    assert parse_mapping(None) is None and parse_mapping("W_enc=a, b_enc = b") == {"W_enc": "a", "b_enc": "b"}
    with pytest.raises(UsageError, match="of the form"):
        parse_mapping("W_enc")


def test_json_stands_alone_on_stdout(tmp_path: Path) -> None:
    code = "import typer; from namesae import cli_sae_files as f; app = typer.Typer(); f.add_to(app); app()"
    arguments = ["export", "sandbox", "--format", "saev", "--out", str(tmp_path / "sae.pt"), "--json"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    record = json.loads(done.stdout)
    assert (record["schema"], record["type"], record["format"]) == (1, "done", "saev")
    assert record["difference"] <= 1e-5


def test_the_hub_is_not_asked_in_vain(tmp_path: Path) -> None:
    with pytest.raises(BadDictionary, match="which nobody else has"):
        sae("push", "sandbox", "me/sandbox")
    with pytest.raises(ModelUnreachable, match="cannot be downloaded"):
        sae("pull", "me/nothing", "--out", tmp_path / "in")


def test_the_commands_know_every_format_and_load_no_torch() -> None:
    assert set(get_args(Form)) == set(TARGETS)
    code = "import sys, namesae.cli_sae_files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
