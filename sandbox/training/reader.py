"""Train the attribute reader: a small CNN that says what a picture shows. Trained on renders alone;
explained by nobody.

It judges generated pictures, so it is trained on renders made a little worse (blur, noise, shifted colour) as
well.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from sandbox.training.loop import Plan, train
from sandbox.training.pictures import batch, to_pixels
from sandbox.world.scene import labels
from sandbox.world.vocabulary import ATTRIBUTES

WIDTHS = (24, 48, 96, 128)


def _block(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
        nn.Conv2d(outside, outside, 3, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


class Reader(nn.Module):
    """(b, 3, 64, 64) in [-1, 1] to one (b, values) logit matrix for each attribute."""

    def __init__(self) -> None:
        super().__init__()
        inside = (3, *WIDTHS[:-1])
        self.trunk = nn.Sequential(*(_block(a, b) for a, b in zip(inside, WIDTHS, strict=True)))
        self.heads = nn.ModuleDict(
            {name: nn.Linear(WIDTHS[-1] * 16, len(values)) for name, values in ATTRIBUTES.items()}
        )

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        seen = self.trunk(pixels.contiguous(memory_format=torch.channels_last)).flatten(1)
        return {name: head(seen) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, images: Sequence[Image.Image]) -> list[dict[str, str]]:
        """What each picture shows: attribute to value."""
        found: list[dict[str, str]] = []
        for start in range(0, len(images), 256):
            logits = self(
                to_pixels([im.convert("RGB").resize((64, 64)) for im in images[start : start + 256]])
            )
            best = {name: table.argmax(1).tolist() for name, table in logits.items()}
            rows = len(images[start : start + 256])
            found += [{name: ATTRIBUTES[name][best[name][i]] for name in ATTRIBUTES} for i in range(rows)]
        return found


def load_reader(folder: Path) -> Reader:
    """The trained reader of a model folder, in evaluation mode."""
    reader = Reader()
    reader.load_state_dict(
        {
            k: v.float() if v.is_floating_point() else v
            for k, v in load_file(folder / "model.safetensors").items()
        }
    )
    return reader.eval()


def worsen(pixels: torch.Tensor, step: int) -> torch.Tensor:
    """A third of the pictures blurred, a third noisy, all shifted a little in brightness."""
    chance = torch.Generator().manual_seed(step)
    third = len(pixels) // 3
    blurred = F.interpolate(F.avg_pool2d(pixels[:third], 2), scale_factor=2, mode="bilinear")
    noisy = pixels[third : 2 * third]
    noisy = noisy + 0.12 * torch.randn(noisy.shape, generator=chance)
    shift = 0.06 * torch.randn(len(pixels), 3, 1, 1, generator=chance)
    return (torch.cat([blurred, noisy, pixels[2 * third :]]) + shift).clamp(-1, 1)


class Trainer:
    """Draws a batch for a step number and measures the loss on it."""

    def __init__(self, model: Reader, *, images: int, seed: int) -> None:
        self.model, self.images, self.seed = model, images, seed

    def __call__(self, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        drawn = batch(f"reader/{self.seed}/{step}", self.images, balanced=0.8)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(worsen(drawn.pixels, step))
        losses, figures = [], {}
        for name, values in ATTRIBUTES.items():
            true = torch.tensor([values.index(labels(scene)[name]) for scene in drawn.scenes])
            losses.append(F.cross_entropy(logits[name].float(), true))
            figures[name] = float((logits[name].argmax(1) == true).float().mean())
        return torch.stack(losses).sum(), figures


def main(models: Path, work: Path, *, steps: int, seed: int = 0) -> None:
    """Train and write ``models/reader``, fp16; state in ``work``."""
    torch.manual_seed(seed)
    model = Reader()
    plan = Plan(steps=steps, lr=2e-3, warmup=100, ema=0.99, weight_decay=0.01, log_every=50, save_every=250)
    train(model, Trainer(model, images=96, seed=seed), plan, work)
    out = models / "reader"
    out.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file(weights, out / "model.safetensors")
    (out / "config.json").write_text(
        json.dumps({"architecture": "sandbox.training.reader.Reader", "widths": WIDTHS})
    )
