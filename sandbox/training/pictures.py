"""Fresh renders as training batches: scenes of a step, their pictures as tensors, their labels."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from sandbox.world.concepts import Bools, label_matrix
from sandbox.world.renderer import render
from sandbox.world.scene import Scene, draw_scene


class Batch(NamedTuple):
    """Scenes and their pictures."""

    scenes: list[Scene]
    pixels: torch.Tensor
    """(b, 3, 64, 64) in [-1, 1]."""

    @property
    def labels(self) -> Bools:
        """(b, len(VALUES))."""
        return label_matrix(self.scenes)


def to_pixels(images: Sequence[Image.Image]) -> torch.Tensor:
    """RGB images of one size to (b, 3, h, w) in [-1, 1]."""
    stacked = np.stack([np.asarray(image, dtype=np.float32) for image in images])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous().div_(127.5).sub_(1)


def batch(seed: str, count: int, *, balanced: float = 0.5, held_out: bool = False) -> Batch:
    """``count`` scenes to train on (or held out), a share balanced, the rest as the world has them."""
    rng = random.Random(seed)
    scenes = [draw_scene(rng, balanced=balanced, held_out=held_out) for _ in range(count)]
    return Batch(scenes, to_pixels([render(scene, rng.randrange(2**31)) for scene in scenes]))
