"""The latent of the sandbox's generator: a fixed linear code of 4x4 cells, known before any training.

Each 16x16 patch is written in its CHANNELS leading principal components (patches with objects weigh more),
every component scaled by the root of its deviation so that fine ones are neither lost nor as loud as coarse
ones. The decoder learns to draw from codes, the encoder to give them, and the diffusion model to make them:
none waits for another.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from sandbox.training.pictures import to_pixels
from sandbox.world.renderer import render_with_mask
from sandbox.world.scene import draw_scene

PATCH = 16
CELLS = 4
CHANNELS = 48
SCENES = 4_000
OBJECT_WEIGHT = 4.0
FILE = "codes.safetensors"


class Code(NamedTuple):
    """A linear code of 16x16 patches."""

    mean: torch.Tensor
    """(768,)"""
    analyse: torch.Tensor
    """(768, CHANNELS): patch minus mean to code."""
    synthesise: torch.Tensor
    """(CHANNELS, 768): code to patch minus mean; the best linear drawing."""

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """(b, 3, 64, 64) in [-1, 1] to (b, CHANNELS, 4, 4)."""
        codes = (patches(pixels) - self.mean) @ self.analyse
        return codes.transpose(1, 2).reshape(len(pixels), -1, CELLS, CELLS)


def patches(pixels: torch.Tensor) -> torch.Tensor:
    """(b, 3, 64, 64) to (b, 16, 768), cells in reading order."""
    cut = pixels.reshape(len(pixels), 3, CELLS, PATCH, CELLS, PATCH)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(len(pixels), CELLS * CELLS, -1)


def fit_code(seed: int = 0) -> Code:
    """The code of the training world; the same for the same seed."""
    import random

    rng = random.Random(f"codes/{seed}")
    drawn = [render_with_mask(draw_scene(rng, balanced=0.6), rng.randrange(2**31)) for _ in range(SCENES)]
    cut = patches(to_pixels([each.image for each in drawn])).flatten(0, 1).double()
    masks = torch.from_numpy(np.stack([np.asarray(each.mask, np.float32) / 255 for each in drawn]))[:, None]
    shown = patches(masks.expand(-1, 3, -1, -1)).flatten(0, 1).mean(1).double()
    weight = (1 + OBJECT_WEIGHT * (shown > 0.02)) / (1 + OBJECT_WEIGHT * (shown > 0.02)).sum()
    mean = (weight[:, None] * cut).sum(0)
    spread, axes = torch.linalg.eigh(((cut - mean) * weight[:, None]).T @ (cut - mean))
    spread, axes = spread.flip(0)[:CHANNELS], axes.flip(1)[:, :CHANNELS]
    plain = ((cut - mean) @ axes).var(0)
    scale = plain.pow(-0.25)
    scale = scale / (plain * scale.square()).mean().sqrt()
    return Code(mean.float(), (axes * scale).contiguous().float(), (axes / scale).T.contiguous().float())


def load_code(work: Path, *, seed: int = 0) -> Code:
    """The code, fitted once and kept in ``work``."""
    path = work / FILE
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        save_file(fit_code(seed)._asdict(), path)
    return Code(**load_file(path))
