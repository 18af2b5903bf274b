"""Folders of small pictures in classes, some of them broken, one as torchvision wants it."""

from __future__ import annotations

import json
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


def write_food(root: Path) -> None:
    """torchvision's Food-101 as it lies after unpacking, of two classes and three pictures."""
    classes = {"apple_pie": ["apple_pie/1", "apple_pie/2"], "sushi": ["sushi/3"]}
    for part in ("train", "test"):
        path = root / "food-101" / "meta" / f"{part}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(classes))
    for number, name in enumerate(each for names in classes.values() for each in names):
        path = root / "food-101" / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (number, number, number)).save(path)
