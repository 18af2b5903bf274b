"""The twenty objects as antialiased masks: a body that takes colour and texture, and details in ink."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from PIL import Image, ImageDraw

CANVAS = 160
"""Side of the canvas a silhouette is drawn on before it is scaled down, pixels."""


class Silhouette(NamedTuple):
    """Two masks of one size ('L', 0..255)."""

    body: Image.Image
    ink: Image.Image


class Pen:
    """Draws in unit coordinates (0..1, y down) on the body and the ink masks."""

    def __init__(self) -> None:
        self.body_mask = Image.new("L", (CANVAS, CANVAS), 0)
        self.ink_mask = Image.new("L", (CANVAS, CANVAS), 0)
        self._body = ImageDraw.Draw(self.body_mask)
        self._ink = ImageDraw.Draw(self.ink_mask)

    def polygon(self, *points: tuple[float, float], cut: bool = False) -> None:
        self._body.polygon([(x * CANVAS, y * CANVAS) for x, y in points], fill=0 if cut else 255)

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, *, cut: bool = False) -> None:
        self._body.ellipse([v * CANVAS for v in (x0, y0, x1, y1)], fill=0 if cut else 255)

    def box(self, x0: float, y0: float, x1: float, y1: float, *, cut: bool = False) -> None:
        self._body.rectangle([v * CANVAS for v in (x0, y0, x1, y1)], fill=0 if cut else 255)

    def ink_ellipse(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self._ink.ellipse([v * CANVAS for v in (x0, y0, x1, y1)], fill=255)

    def ink_box(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self._ink.rectangle([v * CANVAS for v in (x0, y0, x1, y1)], fill=255)

    def ink_line(self, *points: tuple[float, float], width: float = 0.06) -> None:
        self._ink.line([(x * CANVAS, y * CANVAS) for x, y in points], fill=255, width=int(width * CANVAS))


def _fish(p: Pen) -> None:
    p.ellipse(0.0, 0.2, 0.74, 0.8)
    p.polygon((0.6, 0.5), (1.0, 0.14), (1.0, 0.86))
    p.ink_ellipse(0.12, 0.36, 0.25, 0.49)


def _bird(p: Pen) -> None:
    p.ellipse(0.1, 0.4, 0.86, 0.92)
    p.ellipse(0.02, 0.1, 0.46, 0.56)
    p.polygon((0.74, 0.66), (1.0, 0.28), (0.96, 0.76))
    p.polygon((0.06, 0.22), (0.0, 0.4), (0.12, 0.4))
    p.ink_ellipse(0.14, 0.22, 0.26, 0.34)
    p.ink_line((0.4, 0.62), (0.58, 0.74), (0.74, 0.6))
    p.ink_box(0.34, 0.88, 0.41, 1.0)
    p.ink_box(0.54, 0.88, 0.61, 1.0)


def _cat(p: Pen) -> None:
    p.ellipse(0.04, 0.22, 0.96, 0.98)
    p.polygon((0.06, 0.5), (0.06, 0.0), (0.46, 0.28))
    p.polygon((0.94, 0.5), (0.94, 0.0), (0.54, 0.28))
    p.ink_ellipse(0.24, 0.46, 0.38, 0.62)
    p.ink_ellipse(0.62, 0.46, 0.76, 0.62)
    p.ink_line((0.32, 0.8), (0.5, 0.72), (0.68, 0.8))


def _butterfly(p: Pen) -> None:
    for x0, x1 in ((0.0, 0.5), (0.5, 1.0)):
        p.ellipse(x0, 0.06, x1, 0.54)
        p.ellipse(x0 + 0.07 * (x0 == 0.0), 0.46, x1 - 0.07 * (x0 != 0.0), 0.94)
    p.ink_box(0.45, 0.12, 0.55, 0.9)


def _tree(p: Pen) -> None:
    p.ellipse(0.06, 0.0, 0.94, 0.46)
    p.ellipse(0.0, 0.18, 0.56, 0.66)
    p.ellipse(0.44, 0.18, 1.0, 0.66)
    p.ink_box(0.41, 0.62, 0.59, 1.0)


def _flower(p: Pen) -> None:
    for k in range(6):
        x, y = 0.5 + 0.31 * math.cos(k * math.pi / 3), 0.5 + 0.31 * math.sin(k * math.pi / 3)
        p.ellipse(x - 0.19, y - 0.19, x + 0.19, y + 0.19)
    p.ink_ellipse(0.35, 0.35, 0.65, 0.65)


def _mushroom(p: Pen) -> None:
    p.ellipse(0.0, 0.04, 1.0, 1.02)
    p.box(0.0, 0.54, 1.0, 1.0, cut=True)
    p.box(0.34, 0.54, 0.66, 1.0)
    p.ink_box(0.04, 0.5, 0.96, 0.58)


def _cactus(p: Pen) -> None:
    p.box(0.37, 0.06, 0.63, 1.0)
    p.ellipse(0.37, 0.0, 0.63, 0.16)
    p.box(0.04, 0.3, 0.22, 0.62)
    p.box(0.04, 0.48, 0.4, 0.64)
    p.box(0.78, 0.18, 0.96, 0.5)
    p.box(0.6, 0.36, 0.96, 0.52)


def _car(p: Pen) -> None:
    p.box(0.0, 0.46, 1.0, 0.76)
    p.polygon((0.16, 0.48), (0.3, 0.2), (0.7, 0.2), (0.86, 0.48))
    p.ink_ellipse(0.1, 0.62, 0.36, 0.88)
    p.ink_ellipse(0.64, 0.62, 0.9, 0.88)
    p.ink_box(0.34, 0.28, 0.66, 0.44)


def _boat(p: Pen) -> None:
    p.polygon((0.0, 0.66), (1.0, 0.66), (0.8, 0.96), (0.2, 0.96))
    p.polygon((0.54, 0.02), (0.54, 0.58), (0.98, 0.58))
    p.polygon((0.42, 0.16), (0.42, 0.58), (0.08, 0.58))
    p.ink_box(0.45, 0.0, 0.52, 0.66)


def _plane(p: Pen) -> None:
    p.ellipse(0.4, 0.0, 0.6, 1.0)
    p.polygon((0.5, 0.26), (1.0, 0.56), (1.0, 0.68), (0.5, 0.56))
    p.polygon((0.5, 0.26), (0.0, 0.56), (0.0, 0.68), (0.5, 0.56))
    p.polygon((0.5, 0.76), (0.76, 0.92), (0.76, 1.0), (0.24, 1.0), (0.24, 0.92))
    p.ink_ellipse(0.44, 0.06, 0.56, 0.2)


def _rocket(p: Pen) -> None:
    p.polygon((0.5, 0.0), (0.72, 0.28), (0.72, 0.76), (0.28, 0.76), (0.28, 0.28))
    p.polygon((0.28, 0.5), (0.06, 0.84), (0.28, 0.8))
    p.polygon((0.72, 0.5), (0.94, 0.84), (0.72, 0.8))
    p.ink_ellipse(0.39, 0.26, 0.61, 0.48)
    p.ink_box(0.4, 0.8, 0.6, 1.0)


def _house(p: Pen) -> None:
    p.box(0.1, 0.44, 0.9, 1.0)
    p.polygon((0.5, 0.02), (1.0, 0.48), (0.0, 0.48))
    p.ink_box(0.4, 0.66, 0.6, 1.0)
    p.ink_line((0.02, 0.46), (0.98, 0.46), width=0.05)


def _castle(p: Pen) -> None:
    p.box(0.0, 0.26, 1.0, 1.0)
    for x in (0.0, 0.4, 0.8):
        p.box(x, 0.04, x + 0.2, 0.3)
    p.ink_ellipse(0.34, 0.56, 0.66, 0.9)
    p.ink_box(0.34, 0.74, 0.66, 1.0)


def _windmill(p: Pen) -> None:
    p.polygon((0.38, 0.36), (0.62, 0.36), (0.76, 1.0), (0.24, 1.0))
    for a, b in (((0.02, 0.0), (0.98, 0.72)), ((0.98, 0.0), (0.02, 0.72))):
        p.ink_line(a, b, width=0.11)
    p.ellipse(0.39, 0.25, 0.61, 0.47)


def _tent(p: Pen) -> None:
    p.polygon((0.5, 0.06), (1.0, 0.94), (0.0, 0.94))
    p.ink_line((0.5, 0.06), (0.38, 0.0))
    p.ink_line((0.5, 0.06), (0.62, 0.0))
    p.polygon((0.5, 0.5), (0.66, 0.96), (0.34, 0.96), cut=True)


def _star(p: Pen) -> None:
    points = []
    for k in range(10):
        r, a = (0.53, 0.22)[k % 2], math.pi * (k / 5 - 0.5)
        points.append((0.5 + r * math.cos(a), 0.53 + r * math.sin(a)))
    p.polygon(*points)


def _heart(p: Pen) -> None:
    p.ellipse(0.0, 0.06, 0.54, 0.58)
    p.ellipse(0.46, 0.06, 1.0, 0.58)
    p.polygon((0.03, 0.42), (0.97, 0.42), (0.5, 0.98))


def _moon(p: Pen) -> None:
    p.ellipse(0.02, 0.0, 1.02, 1.0)
    p.ellipse(0.34, -0.06, 1.22, 0.86, cut=True)


def _cross(p: Pen) -> None:
    p.box(0.34, 0.0, 0.66, 1.0)
    p.box(0.0, 0.34, 1.0, 0.66)


DRAW: dict[str, Callable[[Pen], None]] = {
    "fish": _fish, "bird": _bird, "cat": _cat, "butterfly": _butterfly, "tree": _tree, "flower": _flower,
    "mushroom": _mushroom, "cactus": _cactus, "car": _car, "boat": _boat, "plane": _plane, "rocket": _rocket,
    "house": _house, "castle": _castle, "windmill": _windmill, "tent": _tent, "star": _star, "heart": _heart,
    "moon": _moon, "cross": _cross,
}  # fmt: skip


@cache
def _drawn(name: str) -> Silhouette:
    pen = Pen()
    DRAW[name](pen)
    return Silhouette(pen.body_mask, pen.ink_mask)


@cache
def silhouette(name: str, side: int) -> Silhouette:
    """The masks of one object at ``side`` pixels, antialiased."""
    body, ink = _drawn(name)
    shape = (side, side)
    return Silhouette(
        body.resize(shape, Image.Resampling.LANCZOS), ink.resize(shape, Image.Resampling.LANCZOS)
    )
