"""Pictures in a folder of the person's: found, chosen with a seed, read, stored."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tools.errors import UsageError
from tools.protocols import StoresImages

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
BATCH = 64
"""Pictures stored together, and so held in memory."""
MOST_SHORT_SIDE = 512
"""Larger pictures are reduced to this short side: backbones read less, and the store keeps PNG."""


def list_images(folder: Path) -> list[Path]:
    """Every picture below a folder by suffix, in the order of its path. UsageError when there is none."""
    if not folder.is_dir():
        raise UsageError(f"Image folder {folder} does not exist; give a folder of PNG or JPEG files.")
    try:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise UsageError(f"Image folder {folder} cannot be read ({error.strerror}); check it.") from error
    if not found:
        raise UsageError(f"Image folder {folder} holds no picture; give a folder of PNG or JPEG files.")
    return found


def read_image(path: Path) -> Image.Image:
    """The picture in RGB, upright, its short side at most 512. UsageError when it cannot be decoded."""
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"Image {path} cannot be read; replace it or take it out of the folder.") from error
    shrink = MOST_SHORT_SIDE / min(upright.size)
    if shrink >= 1:
        return upright
    width, height = (round(side * shrink) for side in upright.size)
    return upright.resize((width, height), Image.Resampling.BICUBIC)


def store_images(folder: Path, store: StoresImages, *, count: int | None = None, seed: int = 0) -> list[str]:
    """Ids of at most ``count`` different pictures of a folder, in seeded order; all, by path, when None."""
    found = list_images(folder)
    order = range(len(found)) if count is None else np.random.default_rng(seed).permutation(len(found))
    wanted = len(found) if count is None else count
    left = iter(order)
    chosen: dict[str, None] = {}
    # Equal pictures count once, so a batch may leave some wanted; never more than that are read.
    while batch := [read_image(found[at]) for at in islice(left, min(BATCH, wanted - len(chosen)))]:
        chosen |= dict.fromkeys(store.put_many(batch))
    return list(chosen)
