from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from sklearn.datasets import load_sample_images

from namesae import cli_sae_extract, cli_sae_train
from sae.dictionary import load_dictionary
from sae.trainer.coder import Coder
from sae.trainer.losses import fvu
from sae.trainer.member import Member, Start
from sae.trainer.recipe import Recipe
from sae.trainer.recipe_file import preset_names, read_preset
from sae.trainer.schedule import Plan

MODELS = Path(__file__).parent.parent / "sandbox" / "models"
FEATURES = 512
"""Of each; more than the largest k of any preset."""
KINDS = ("namesae-topk", "namesae-relu", "namesae-jumprelu", "namesae-gated", "msae-rw", "vit-tiny-topk64")
"""One of each architecture, nesting by k, and a LayerNorm that is not undone."""


class Ending(NamedTuple):
    """What a training said of a dictionary at its end."""

    fvu: float
    l0: float


def photographs(folder: Path, *, count: int) -> Path:
    """Crops of two photographs, of several sizes, as PNG and JPEG."""
    rng, sources = np.random.default_rng(0), load_sample_images().images
    for number in range(count):
        source, side = sources[number % len(sources)], int(rng.integers(64, 300))
        top, left = (int(rng.integers(0, length - side)) for length in source.shape[:2])
        path = folder / f"photograph-{number % 2}" / f"{number:03d}.{'png' if number % 3 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source[top : top + side, left : left + side]).save(path)
    return folder


def store_of(source: str, out: Path, *, images: int) -> Path:
    """Patches of the sandbox's CLIP."""
    given = ("extract", source, "--backbone", f"open_clip:{MODELS / 'clip'}", "--hook-point", "block.2")
    assert run(*given, "--tokens", "patch", "--max-images", str(images), "--out", str(out), "--quiet") == 0
    return out


def run(*arguments: str) -> int:
    app = typer.Typer()
    cli_sae_extract.add_to(app)
    cli_sae_train.add_to(app)
    code: int = app(list(arguments), standalone_mode=False)
    return code


def endings(
    store: Path, out: Path, names: tuple[str, ...], *, steps: int, printed: pytest.CaptureFixture[str]
) -> dict[str, Ending]:
    """Train presets side by side; what is said of each at the end."""
    sizes = (f"n_features={FEATURES}", f"steps={steps}", "batch_size=256", "input.rows=4096")
    changes = [part for size in sizes for part in ("--set", size)]
    printed.readouterr()
    where = ("train", str(store), "--out", str(out), "--preset", ",".join(names))
    assert run(*where, *changes, "--quiet") == 0
    said = re.findall(r"^(\S+) .* FVU (\S+) +L0 (\S+) ", printed.readouterr().out, re.MULTILINE)
    return {name: Ending(float(fvu), float(l0)) for name, fvu, l0 in said}


def check(name: str, ending: Ending, *, folder: Path) -> None:
    """Finite, loadable, and as sparse as its kind is."""
    dictionary, k = load_dictionary(folder), read_preset(name).k
    assert math.isfinite(ending.fvu) and 0 <= ending.l0 <= FEATURES
    assert dictionary.n_features == FEATURES
    if dictionary.architecture == "topk" and k is not None:
        assert ending.l0 <= k + 1e-6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the activations of ordinary pictures."""
    root = tmp_path_factory.mktemp("pictures")
    return store_of(str(photographs(root / "folder", count=24)), root / "store", images=24)


def test_each_kind_of_preset_trains_on_a_folder_of_photographs(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = endings(pictures, tmp_path / "out", KINDS, steps=20, printed=capsys)
    assert set(found) == set(KINDS)
    for name, ending in found.items():
        check(name, ending, folder=tmp_path / "out" / name)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["photographs", "sandbox.sets"])
def test_every_preset_trains(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = str(photographs(tmp_path / "folder", count=300)) if source == "photographs" else source
    names = tuple(preset_names())
    found = endings(
        store_of(asked, tmp_path / "store", images=300), tmp_path / "out", names, steps=100, printed=capsys
    )
    assert set(found) == set(names)
    for name, ending in found.items():
        check(name, ending, folder=tmp_path / "out" / name)


def rows(count: int, *, width: int = 16) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(3))


def recipe(**settings: object) -> Recipe:
    """Small, and without a bias that rows would move."""
    return Recipe.model_validate({"n_features": 200, "steps": 1, "batch_size": 64, **settings})


def begun(of: Recipe, sample: torch.Tensor) -> Coder:
    return Member(Start(of, Plan.of(of, None), 0), sample).coder


@pytest.mark.parametrize("log", [True, False])
def test_a_calibrated_jumprelu_begins_with_k_activations_a_row(log: bool) -> None:
    how = {"start": "calibrated", "log": log, "bandwidth": 0.5}
    coder = begun(recipe(architecture="jumprelu", k=6, jump=how), rows(701))
    z = coder.activate(coder.pre_activations(rows(701)), None)
    assert float((z != 0).sum(1).float().mean()) == pytest.approx(6, rel=0.01)


def test_a_balanced_relu_begins_by_rebuilding_rows_at_their_own_length() -> None:
    x = rows(701)
    errors = []
    for scale in (1.0, "balanced"):
        of = recipe(architecture="relu", n_features=1000, encoder={"start_scale": scale})
        coder = begun(of, x).requires_grad_(False)
        decoded = coder.decode(coder.activate(coder.pre_activations(x), None))
        errors.append(float(fvu(x - decoded, x)))
        length = float((decoded * x).sum() / x.square().sum())
        assert length == pytest.approx(1 if scale == "balanced" else 1000 / 32, rel=0.1)
    assert errors[1] < 0.2 < 100 < errors[0]


@pytest.mark.parametrize("sparsity", ["none", "l0"])
def test_a_calibrated_jumprelu_needs_k(sparsity: str) -> None:
    with pytest.raises(ValueError, match="k is missing"):
        recipe(architecture="jumprelu", jump={"start": "calibrated"}, loss={"sparsity": sparsity})
