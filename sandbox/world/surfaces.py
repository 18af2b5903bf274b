"""What covers things: texture tiles on objects and the eight backgrounds, all cached."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from sandbox.world.vocabulary import COLOURS

SIDE = 64
"""Side of a picture, pixels."""
VARIANTS = 24
"""Different pictures of each background."""
_SCALE = 4


def _grid(period: float, phase: float) -> npt.NDArray[np.float64]:
    return (np.arange(SIDE * _SCALE) / _SCALE + phase) % period


def _striped(phase: int) -> npt.NDArray[np.bool_]:
    bands: npt.NDArray[np.bool_] = np.broadcast_to((_grid(6, phase) < 3)[:, None], (SIDE * _SCALE,) * 2)
    return bands


def _slanted(phase: int) -> npt.NDArray[np.bool_]:
    axis = np.arange(SIDE * _SCALE) / _SCALE
    bands: npt.NDArray[np.bool_] = ((axis[:, None] + axis[None, :]) / np.sqrt(2) + phase) % 7 < 3.5
    return bands


def _dotted(phase: int) -> npt.NDArray[np.bool_]:
    axis = _grid(6, phase) - 3
    return axis[:, None] ** 2 + axis[None, :] ** 2 < 1.9**2


def _checkered(phase: int) -> npt.NDArray[np.bool_]:
    axis = _grid(8, phase) < 4
    return axis[:, None] ^ axis[None, :]


def _ringed(phase: int) -> npt.NDArray[np.bool_]:
    axis = np.arange(SIDE * _SCALE) / _SCALE - SIDE / 2
    return (np.hypot(axis[:, None], axis[None, :]) + phase) % 7 < 3.5


PATTERNS: dict[str, Callable[[int], npt.NDArray[np.bool_]]] = {
    "striped": _striped, "slanted": _slanted, "dotted": _dotted, "checkered": _checkered, "ringed": _ringed,
}  # fmt: skip


@cache
def _pattern(texture: str, phase: int) -> Image.Image:
    mask = Image.fromarray((PATTERNS[texture](phase) * 255).astype(np.uint8))
    return mask.resize((SIDE, SIDE), Image.Resampling.BOX)


def ink_on(colour: str) -> tuple[int, int, int]:
    """The second colour of a pattern; grey on white and black, which would else be told apart by little."""
    r, g, b = COLOURS[colour]
    if colour in ("white", "black"):
        return (132, 132, 138)
    return (20, 20, 24) if 0.3 * r + 0.59 * g + 0.11 * b > 112 else (248, 248, 248)


@cache
def surface(colour: str, texture: str, phase: int) -> Image.Image:
    """A 64x64 swatch of a colour in a texture; rings are centred on (32, 32)."""
    swatch = Image.new("RGB", (SIDE, SIDE), COLOURS[colour])
    if texture != "plain":
        swatch.paste(ink_on(colour), mask=_pattern(texture, phase))
    return swatch


def _noise(rng: random.Random, base: tuple[int, int, int], spread: int) -> Image.Image:
    field = np.random.default_rng(rng.randrange(2**32)).normal(0, spread, (16, 16, 1))
    pixels = np.clip(np.array(base) + field, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _water(rng: random.Random) -> Image.Image:
    image = _noise(rng, (38, 112, 190), 4)
    draw = ImageDraw.Draw(image)
    for y in range(rng.randrange(2, 8), SIDE, 9):
        x = rng.randrange(-12, 0)
        while x < SIDE:
            draw.arc((x, y - 3, x + 11, y + 3), 0, 180, fill=(150, 205, 240))
            x += 12
    return image


def _grass(rng: random.Random) -> Image.Image:
    image = _noise(rng, (98, 176, 66), 5)
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        x, y = rng.randrange(SIDE), rng.randrange(SIDE)
        draw.line((x, y, x + rng.choice((-1, 0, 1)), y - 4), fill=(52, 118, 34))
    return image


def _sand(rng: random.Random) -> Image.Image:
    image = _noise(rng, (228, 196, 132), 5)
    draw = ImageDraw.Draw(image)
    for _ in range(70):
        draw.point((rng.randrange(SIDE), rng.randrange(SIDE)), fill=(176, 138, 76))
    return image


def _snow(rng: random.Random) -> Image.Image:
    image = _noise(rng, (226, 234, 244), 3)
    draw = ImageDraw.Draw(image)
    for _ in range(16):
        x, y = rng.randrange(SIDE), rng.randrange(SIDE)
        draw.line((x - 1, y, x + 1, y), fill=(150, 176, 214))
        draw.line((x, y - 1, x, y + 1), fill=(150, 176, 214))
    return image


def _sky(rng: random.Random) -> Image.Image:
    image = _noise(rng, (140, 202, 250), 3)
    cloud = Image.new("L", (SIDE, SIDE), 0)
    draw = ImageDraw.Draw(cloud)
    for _ in range(4):
        x, y = rng.randrange(-8, SIDE), rng.randrange(SIDE)
        draw.ellipse((x, y, x + 22, y + 8), fill=235)
        draw.ellipse((x + 5, y - 4, x + 15, y + 6), fill=235)
    image.paste((255, 255, 255), mask=cloud.filter(ImageFilter.GaussianBlur(1)))
    return image


def _night(rng: random.Random) -> Image.Image:
    image = _noise(rng, (18, 18, 62), 3)
    draw = ImageDraw.Draw(image)
    for _ in range(24):
        draw.point((rng.randrange(SIDE), rng.randrange(SIDE)), fill=(255, 250, 205))
    return image


def _brick(rng: random.Random) -> Image.Image:
    image = _noise(rng, (166, 82, 60), 5)
    draw = ImageDraw.Draw(image)
    shift = rng.randrange(8)
    for row, y in enumerate(range(shift - 8, SIDE, 8)):
        draw.line((0, y, SIDE, y), fill=(206, 190, 176))
        for x in range(shift + 8 * (row % 2) - 16, SIDE, 16):
            draw.line((x, y, x, y + 8), fill=(206, 190, 176))
    return image


def _wood(rng: random.Random) -> Image.Image:
    image = _noise(rng, (150, 108, 62), 5)
    draw = ImageDraw.Draw(image)
    for x in range(rng.randrange(12), SIDE, 12):
        draw.line((x, 0, x, SIDE), fill=(84, 54, 26), width=2)
    return image


BACKDROPS: dict[str, Callable[[random.Random], Image.Image]] = {
    "water": _water, "grass": _grass, "sand": _sand, "snow": _snow, "sky": _sky, "night": _night,
    "brick": _brick, "wood": _wood,
}  # fmt: skip


@cache
def backdrop(background: str, variant: int) -> Image.Image:
    """One of the VARIANTS pictures of a background, 64x64 RGB; copy before painting on it."""
    return BACKDROPS[background](random.Random(f"{background}/{variant}"))
