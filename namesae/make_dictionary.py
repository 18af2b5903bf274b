"""``python -m namesae.make_dictionary PICTURES``: a dictionary on CLIP ViT-B/32, ready to name.

A small one, on the image embedding, for a first look; any dictionary in the same folder format can be named.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from namesae.programs import run_program
from namesae.reporters import tell
from namesae.settings import Settings, load_settings
from sae.card import BackboneSpec, Origin, ProbeSet
from sae.feature import Frozen
from tools.control import LEAST_CONTROL
from tools.device import best_device
from tools.errors import UsageError
from tools.image_folder import list_images, read_image
from tools.scoring import translated

if TYPE_CHECKING:
    from torch import Tensor

    from sae.training import Progress

CLIP = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
GENERATOR = "stabilityai/sd-turbo"
BATCH = 64


class Recipe(Frozen):
    """What is made of which pictures."""

    pictures: Path
    name: str = "clip-b32"
    backbone: BackboneSpec = BackboneSpec(kind="open_clip", source=CLIP)
    generator: str = GENERATOR
    n_features: int = 2048
    k: int = 16
    steps: int = 4000


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the dictionary a command line asks for; the exit code, after one sentence for an error."""
    recipe = _parse(arguments)

    def make() -> str:
        return (
            f"{make_dictionary(recipe, load_settings())}\nname its features: namesae name {recipe.name}#0-9"
        )

    return run_program(make)


def make_dictionary(recipe: Recipe, settings: Settings) -> Path:
    """Embed the pictures, train a TopK dictionary on them, save it among the person's own; its folder."""
    from sae.training import TrainingConfig, train_dictionary

    folder = settings.home / "dictionaries" / recipe.name
    if folder.exists():
        raise UsageError(f"Dictionary {folder} exists already; choose another --name.")
    embedded = embed(recipe)
    config = TrainingConfig(n_features=recipe.n_features, k=recipe.k, steps=recipe.steps, dead_after=200_000)
    dictionary = train_dictionary(embedded, config, seed=settings.seed, log=_tell)
    origin = Origin(
        name=recipe.name,
        backbone=recipe.backbone,
        hook_point="pooled",
        generator=recipe.generator,
        probe_set=ProbeSet(source=str(recipe.pictures.resolve()), images=len(embedded)),
    )
    dictionary.save(folder, origin)
    return folder


def embed(recipe: Recipe) -> Tensor:
    """(n, d) float32 image embeddings of all pictures, on the CPU."""
    import torch

    from sae.backbone import POOLED, load_backbone

    paths = list_images(recipe.pictures)
    if len(paths) < LEAST_CONTROL:
        raise UsageError(
            f"Folder {recipe.pictures} holds {len(paths)} pictures; give {LEAST_CONTROL:,} or more."
        )
    with translated():
        backbone = load_backbone(recipe.backbone, device=best_device())
    found = []
    for start in range(0, len(paths), BATCH):
        pixels = backbone.preprocess([read_image(path) for path in paths[start : start + BATCH]])
        found.append(backbone.activations(pixels, [POOLED])[POOLED].float().cpu())
        tell(f"embedded {min(start + BATCH, len(paths))} of {len(paths)} pictures", sys.stderr)
    return torch.cat(found)


def _tell(progress: Progress) -> None:
    said = f"step {progress.step} of {progress.steps}: FVU {progress.fvu:.3f}, {progress.dead} dead features"
    tell(said, sys.stderr)


def _parse(arguments: Sequence[str] | None) -> Recipe:
    parser = argparse.ArgumentParser(prog="python -m namesae.make_dictionary", description=__doc__)
    parser.add_argument("pictures", type=Path, help="a folder of pictures, at least 1,000")
    parser.add_argument("--name", default="clip-b32", help="what the dictionary is called")
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=4000)
    given = parser.parse_args(arguments)
    return Recipe(pictures=given.pictures, name=given.name, n_features=given.features, steps=given.steps)


if __name__ == "__main__":
    sys.exit(main())
