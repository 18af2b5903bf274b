"""Train the sandbox's autoencoder: 64x64 RGB to a latent of 4x4x32 and back.

Besides redrawing the picture (objects weigh more than ground) the latent must give every label to a linear reader, so
that what captions speak of lies in straight directions of the latent: a diffusion model learns those soonest
(compare VA-VAE, arXiv 2501.01423). The reader is thrown away.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import nn

from sandbox.training.loop import Plan, train
from sandbox.training.pictures import to_pixels
from sandbox.world.concepts import VALUES, label_matrix
from sandbox.world.renderer import render_with_mask
from sandbox.world.scene import draw_scene

CHANNELS = (16, 32, 64, 128, 128)
LATENT = 32
OBJECT_WEIGHT = 3.0
KL_WEIGHT = 4e-5
READ_WEIGHT = 0.03


def build() -> AutoencoderKL:
    """A randomly initialised autoencoder, 4.0 M parameters."""
    n = len(CHANNELS)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        latent_channels=LATENT,
        norm_num_groups=8,
        sample_size=64,
    )


class Readable(nn.Module):
    """The autoencoder with a linear reader of labels on its latent."""

    def __init__(self) -> None:
        super().__init__()
        self.vae = build()
        self.reader = nn.Linear(LATENT * 16, len(VALUES))


def reading_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over the attributes of (b, values) logits."""
    losses = []
    for name in ("object", "colour", "texture", "background", "size", "count"):
        rows = [i for i, value in enumerate(VALUES) if value.attribute == name]
        losses.append(F.cross_entropy(logits[:, rows], labels[:, rows].argmax(1)))
    return torch.stack(losses).mean()


class Trainer:
    """Draws a batch for a step number and measures the loss on it."""

    def __init__(self, model: Readable, *, images: int, seed: int) -> None:
        self.model, self.images, self.seed = model, images, seed

    def __call__(self, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = random.Random(f"vae/{self.seed}/{step}")
        scenes = [draw_scene(rng, balanced=0.5) for _ in range(self.images)]
        drawn = [render_with_mask(scene, rng.randrange(2**31)) for scene in scenes]
        pixels = to_pixels([d.image for d in drawn])
        masks = torch.from_numpy(np.stack([np.asarray(d.mask, np.float32) / 255 for d in drawn]))[:, None]
        labels = torch.from_numpy(label_matrix(scenes).astype(np.float32))
        torch.manual_seed(step)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = self.model.vae.encode(pixels).latent_dist
            redrawn = self.model.vae.decode(posterior.sample()).sample.float()
            logits = self.model.reader(posterior.mean.flatten(1))
        error = (redrawn - pixels).abs() + (redrawn - pixels).square()
        drawing = (error * (1 + OBJECT_WEIGHT * masks)).mean()
        kl = posterior.kl().float().mean()
        reading = reading_loss(logits.float(), labels)
        loss = drawing + KL_WEIGHT * kl + READ_WEIGHT * reading
        mse = float((redrawn.detach() - pixels).square().mean()) / 4
        return loss, {"psnr": -10 * float(np.log10(mse)), "kl": float(kl.detach()), "reading": float(reading.detach())}


def main(models: Path, work: Path, *, steps: int, seed: int = 0) -> None:
    """Train and write ``models/sd/vae``, fp16; state in ``work``."""
    torch.manual_seed(seed)
    model = Readable()
    plan = Plan(steps=steps, lr=2e-3, warmup=200, ema=0.998, weight_decay=0.0, log_every=50, save_every=250)
    train(model, Trainer(model, images=32, seed=seed), plan, work)
    scale = latent_scale(model.vae, seed)
    model.vae.register_to_config(scaling_factor=scale)
    model.vae.half().save_pretrained(models / "sd" / "vae", safe_serialization=True)


@torch.no_grad()
def latent_scale(vae: AutoencoderKL, seed: int) -> float:
    """1 / std of the latents of 512 pictures: what brings them to unit variance."""
    from sandbox.training.pictures import batch

    pixels = batch(f"scale/{seed}", 512).pixels
    latents = torch.cat([vae.encode(chunk).latent_dist.mean for chunk in pixels.split(64)])
    return float(1 / latents.std())
