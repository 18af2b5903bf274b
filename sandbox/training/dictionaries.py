"""Train the sandbox's three dictionaries, without labels, on activations of the shipped backbones; measure
their features.

Each folder ends up with the weights, a card and the truth table. The recipes were set before any was trained.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import NamedTuple

import torch

from sae.backbone import VisionBackbone, load_backbone
from sae.card import BackboneSpec, Origin, ProbeSet
from sae.dictionary import SparseDictionary
from sae.fingerprint import fingerprint
from sae.fit import Fit, measure_fit
from sae.pooling import Pooling
from sae.training import Progress, TrainingConfig, train_dictionary
from sandbox.activations import measure
from sandbox.heldout import held_out
from sandbox.sets import SIZES
from sandbox.training.pictures import batch
from sandbox.truth import save_truth, truth_table

PICTURES = 60_000
CHUNK = 250


class Recipe(NamedTuple):
    """One dictionary: where its activations come from and how it is trained."""

    name: str
    backbone: BackboneSpec
    hook_point: str
    pooling: Pooling
    config: TrainingConfig
    tokens: int
    """Patch tokens kept of each picture while training; 0 for a pooled hook point."""


CLIP = BackboneSpec(kind="open_clip", source="../clip")
VIT = BackboneSpec(kind="timm", source="../vit")
RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "sandbox",
        CLIP,
        "pooled",
        "none",
        TrainingConfig(n_features=384, k=8, steps=3000, dead_after=20_000, auxk=0.25),
        0,
    ),
    Recipe(
        "sandbox-patch",
        CLIP,
        "block.2",
        "max",
        TrainingConfig(n_features=1024, k=16, steps=8000, dead_after=400_000),
        12,
    ),
    Recipe(
        "sandbox-vit",
        VIT,
        "pooled",
        "none",
        TrainingConfig(n_features=384, k=10, steps=6000, dead_after=200_000),
        0,
    ),
)


def collect(backbone: VisionBackbone, recipe: Recipe, *, pictures: int, seed: str) -> torch.Tensor:
    """(n, d) float16 activations of fresh training pictures; random patches of each where it has any."""
    found = []
    chance = torch.Generator().manual_seed(len(seed))
    for start in range(0, pictures, CHUNK):
        drawn = batch(f"{seed}/{start}", min(CHUNK, pictures - start), balanced=0.5)
        with torch.no_grad():
            tokens = backbone.activations(drawn.pixels, [recipe.hook_point])[recipe.hook_point]
        if recipe.tokens:
            tokens = tokens[:, backbone.n_prefix_tokens :]
            kept = torch.rand(tokens.shape[:2], generator=chance).argsort(1)[:, : recipe.tokens]
            tokens = tokens.gather(1, kept[..., None].expand(-1, -1, tokens.shape[-1])).flatten(0, 1)
        found.append(tokens.half())
    return torch.cat(found)


def train_one(
    recipe: Recipe, models: Path, work: Path, *, steps: int, seed: int
) -> tuple[SparseDictionary, Fit]:
    """Train one recipe and write its folder's weights and card, its curve to ``work``; the fit is on other
    pictures.
    """
    folder = models / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    backbone = load_backbone(recipe.backbone.located(folder), device="cpu", dtype=torch.float32)
    seen = collect(backbone, recipe, pictures=PICTURES, seed=f"dictionary/{seed}/{recipe.hook_point}")
    config = recipe.config.model_copy(update={"steps": steps}) if steps else recipe.config
    with (work / f"{recipe.name}.csv").open("w", newline="") as file:
        curve = csv.writer(file)
        curve.writerow(Progress._fields)
        dictionary = train_dictionary(seen, config, seed=seed, log=curve.writerow)
    fresh = collect(backbone, recipe, pictures=4_000, seed=f"fit/{seed}")
    origin = Origin(
        name=recipe.name,
        backbone=recipe.backbone,
        hook_point=recipe.hook_point,
        pooling=recipe.pooling,
        generator="../sd",
        probe_set=ProbeSet(source="sandbox.sets", images=SIZES["probe"]),
        tagger=CLIP,
        witness="reader:../reader",
    )
    dictionary.save(folder, origin, dtype=torch.float16)
    save_truth(truth_table(measure(folder).activations, held_out().labels), folder)
    return dictionary, measure_fit(dictionary, fresh)


def asked(recipe: Recipe, models: Path, *, steps: int, seed: int) -> str:
    """What a training is of: recipe, steps, seed and the content of the backbone."""
    return f"{recipe} {steps} {seed} {fingerprint(str(backbone_of(recipe, models)))}"


def backbone_of(recipe: Recipe, models: Path) -> Path:
    """The folder of its backbone, which its own, that names it, may not be there yet to find."""
    return Path(os.path.normpath(models / recipe.name / recipe.backbone.source))


def main(models: Path, work: Path, *, steps: int, seed: int = 0) -> None:
    """Train those whose backbone is there (``steps`` 0: as their recipes say) and print each one's fit.

    What ``work`` says is trained is left as it is, so that after an interruption the rest follows.
    """
    work.mkdir(parents=True, exist_ok=True)
    for recipe in RECIPES:
        if not backbone_of(recipe, models).exists():
            print(f"{recipe.name}: left out, its backbone {recipe.backbone.source} is not trained yet")
            continue
        done, wanted = work / f"{recipe.name}.done", asked(recipe, models, steps=steps, seed=seed)
        if done.exists() and done.read_text() == wanted:
            print(f"{recipe.name}: trained already; remove {done} to train it again")
            continue
        _, fit = train_one(recipe, models, work, steps=steps, seed=seed)
        done.write_text(wanted)
        print(f"{recipe.name}: FVU {fit.fvu:.3f}, L0 {fit.l0:.1f}, silent {fit.silent:.3f}", flush=True)
