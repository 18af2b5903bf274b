"""The sandbox's image sets: the probe set and two control sets, one of them for judges alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from PIL import Image

from sandbox.world.concepts import Bools, label_matrix, truth
from sandbox.world.renderer import render
from sandbox.world.scene import Scene, draw_scene

SIZES: dict[str, int] = {"control": 1_000, "probe": 3_000, "judge": 1_000}
"""Pictures in each set. No scene of any is held out, so no naming run sees what names are graded on."""
FIRST: dict[str, int] = {"control": 3 * 2**32, "probe": 4 * 2**32, "judge": 5 * 2**32}
"""Seed of each set's first picture."""


@dataclass(frozen=True)
class ImageSet:
    """A fixed, seeded set of pictures, half as the world has them and half balanced."""

    name: str
    scenes: tuple[Scene, ...]
    labels: Bools

    def __len__(self) -> int:
        return len(self.scenes)

    def pictures(self) -> list[Image.Image]:
        """Every picture, 64x64 RGB, in order; a thousand take a tenth of a second."""
        return [render(scene, FIRST[self.name] + row) for row, scene in enumerate(self.scenes)]

    def share(self, name: str) -> float | None:
        """Share of the pictures that show what a name says; None when the world's grammar cannot read it."""
        try:
            return float(truth(name, self.labels).mean())
        except ValueError:
            return None


@cache
def image_set(name: str) -> ImageSet:
    """'probe', 'control' or 'judge'."""
    rng = random.Random(f"set/{name}")
    scenes = tuple(draw_scene(rng, balanced=0.5) for _ in range(SIZES[name]))
    return ImageSet(name, scenes, label_matrix(scenes))
