"""A folder of small random pictures in classes, some of them broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_images(folder: Path, *, count: int, classes: int = 2, broken: tuple[int, ...] = ()) -> Path:
    """``count`` pictures of 40 x 32 in folders class-0, class-1, ...; those in ``broken`` are cut short."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"class-{number % classes}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        # Classes differ in brightness, so that something can tell them apart.
        Image.fromarray(noise // 2 + np.uint8(100 * (number % classes))).save(path)
        if number in broken:
            path.write_bytes(path.read_bytes()[:200])
    return folder
