"""Train the sandbox's vision-only classifier: a small timm ViT that learns object names and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sandbox.training.loop import Plan, train
from sandbox.training.pictures import batch
from sandbox.world.vocabulary import OBJECTS

ARCHITECTURE = "vit_tiny_patch16_224"
MODEL_ARGS: dict[str, Any] = {"img_size": 64, "patch_size": 8, "embed_dim": 128, "depth": 4, "num_heads": 4}


def build() -> nn.Module:
    """A randomly initialised classifier of the twenty objects, 0.8 M parameters."""
    model: nn.Module = timm.create_model(
        ARCHITECTURE, pretrained=False, num_classes=len(OBJECTS), **MODEL_ARGS
    )
    return model


class Trainer:
    """Draws a batch for a step number and measures the loss on it."""

    def __init__(self, model: nn.Module, *, images: int, seed: int) -> None:
        self.model, self.images, self.seed = model, images, seed

    def __call__(self, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        drawn = batch(f"classifier/{self.seed}/{step}", self.images, balanced=0.7)
        true = torch.tensor([OBJECTS.index(scene.object) for scene in drawn.scenes])
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(drawn.pixels)
        figures = {"object": float((logits.argmax(1) == true).float().mean())}
        return F.cross_entropy(logits.float(), true), figures


def save(model: nn.Module, folder: Path) -> None:
    """Write the folder timm loads as ``local-dir:``, fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: v.half().contiguous() for k, v in model.state_dict().items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    config = {
        "architecture": ARCHITECTURE,
        "num_classes": len(OBJECTS),
        "num_features": MODEL_ARGS["embed_dim"],
        "global_pool": "token",
        "model_args": MODEL_ARGS,
        "label_names": list(OBJECTS),
        "pretrained_cfg": {
            "input_size": [3, 64, 64],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "num_classes": len(OBJECTS),
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def main(models: Path, work: Path, *, steps: int, seed: int = 0) -> None:
    """Train and write ``models/vit``; state in ``work``."""
    torch.manual_seed(seed)
    model = build()
    plan = Plan(steps=steps, lr=1e-3, ema=0.998, weight_decay=0.05, log_every=50, save_every=250)
    with sdpa_kernel([SDPBackend.MATH]):
        train(model, Trainer(model, images=128, seed=seed), plan, work)
    save(model, models / "vit")
