"""Train the sandbox's autoencoder, 64x64 RGB to a latent of 4x4x48 and back, on the linear code of
sandbox.training.codes.

Two losses that share no weights: the decoder draws pictures from their codes with a little noise (objects
weigh more than ground), the encoder gives the codes of pictures.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from sandbox.training.codes import CHANNELS, Code, load_code
from sandbox.training.loop import Plan, train
from sandbox.training.pictures import to_pixels
from sandbox.world.renderer import render_with_mask
from sandbox.world.scene import draw_scene

WIDTHS = (16, 32, 48, 96, 128)
OBJECT_WEIGHT = 3.0
NOISE = 0.1
"""Noise on codes while training: what a drawn latent is off by must not show."""
ENCODER_EVERY = 4
"""The encoder, which drawing from text never uses, learns on every fourth step."""
LOG_VARIANCE = -6.0


def build() -> AutoencoderKL:
    """A randomly initialised autoencoder."""
    n = len(WIDTHS)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
    )


class Trainer:
    """Draws a batch for a step number and measures the loss on it."""

    def __init__(self, vae: AutoencoderKL, code: Code, *, images: int, seed: int) -> None:
        self.vae, self.code, self.images, self.seed = vae, code, images, seed

    def __call__(self, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = random.Random(f"vae/{self.seed}/{step}")
        drawn = [
            render_with_mask(draw_scene(rng, balanced=0.6), rng.randrange(2**31)) for _ in range(self.images)
        ]
        pixels = to_pixels([each.image for each in drawn])
        masks = torch.from_numpy(np.stack([np.asarray(each.mask, np.float32) / 255 for each in drawn]))[
            :, None
        ]
        codes = self.code.encode(pixels)
        noise = NOISE * torch.randn(codes.shape, generator=torch.Generator().manual_seed(step))
        with torch.autocast("cpu", torch.bfloat16):
            redrawn = self.vae.decode(codes + noise).sample.float()
        off = redrawn - pixels
        loss = ((off.abs() + off.square()) * (1 + OBJECT_WEIGHT * masks)).mean()
        figures = {"psnr": -10 * math.log10(float(off.detach().square().mean()) / 4)}
        if step % ENCODER_EVERY == 0:
            encoding = self._encoding(pixels, codes)
            loss = loss + encoding
            figures["encoding"] = ENCODER_EVERY * float(encoding.detach())
        return loss, figures

    def _encoding(self, pixels: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            posterior = self.vae.encode(pixels).latent_dist
        certain = (posterior.logvar.float() - LOG_VARIANCE).square().mean()
        loss: torch.Tensor = (posterior.mean.float() - codes).square().mean() + 0.01 * certain
        return loss


def main(models: Path, work: Path, *, steps: int, seed: int = 0) -> None:
    """Train and write ``models/sd/vae``, fp16; state in ``work``."""
    torch.manual_seed(seed)
    vae = build()
    code = load_code(work.parent / "codes", seed=seed)
    plan = Plan(
        steps=steps, lr=1.5e-3, warmup=100, ema=0.998, weight_decay=0.0, log_every=100, save_every=500
    )
    train(vae, Trainer(vae, code, images=12, seed=seed), plan, work)
    vae.half().save_pretrained(models / "sd" / "vae", safe_serialization=True)
