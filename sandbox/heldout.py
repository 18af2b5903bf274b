"""The held-out scenes: never trained on, half as the world has them and half balanced, and what features do
on them.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from sandbox.world.concepts import Bools, label_matrix
from sandbox.world.renderer import render
from sandbox.world.scene import Scene, draw_scene

SCENES = 20_000
Floats = npt.NDArray[np.float32]


class HeldOut(NamedTuple):
    """Scenes and their exact labels; even rows choose (a concept, a cut), odd rows report."""

    scenes: tuple[Scene, ...]
    labels: Bools
    """(n, len(VALUES))."""

    def picture(self, row: int) -> Image.Image:
        """The picture of one scene, 64x64 RGB."""
        return render(self.scenes[row], 2**32 + row)


@lru_cache(maxsize=2)
def held_out(count: int = SCENES, *, balanced: float = 0.5) -> HeldOut:
    """The first ``count`` held-out scenes."""
    rng = random.Random(f"held out/{balanced}")
    scenes = tuple(draw_scene(rng, balanced=balanced, held_out=True) for _ in range(count))
    return HeldOut(scenes, label_matrix(scenes))
