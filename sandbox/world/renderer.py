"""``render(scene, seed)``: one picture of a scene, the same bytes for the same arguments."""

from __future__ import annotations

import random
from typing import NamedTuple

from PIL import Image, ImageFilter

from sandbox.world.scene import Scene
from sandbox.world.silhouettes import silhouette
from sandbox.world.surfaces import SIDE, VARIANTS, backdrop, surface

SIDES: dict[tuple[str, int], int] = {
    ("big", 1): 42, ("big", 2): 29, ("big", 3): 28, ("small", 1): 22, ("small", 2): 18, ("small", 3): 17,
}  # fmt: skip
"""Side of an object in pixels by size and count."""
CENTRES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((32, 32),),
    2: ((17, 32), (47, 32)),
    3: ((17, 18), (47, 18), (32, 47)),
}
JITTER = 2
"""Largest wandering of an object from its place, pixels."""


class Rendering(NamedTuple):
    """A picture and where its objects are."""

    image: Image.Image
    """64x64 RGB."""
    mask: Image.Image
    """64x64 'L', 255 where any object is."""


def render_with_mask(scene: Scene, seed: int) -> Rendering:
    """The picture of a scene and the mask of its objects."""
    rng = random.Random(seed)
    image = backdrop(scene.background, rng.randrange(VARIANTS)).copy()
    objects = Image.new("L", (SIDE, SIDE), 0)
    side = SIDES[scene.size, scene.count]
    body, ink = silhouette(scene.object, side)
    swatch = surface(scene.colour, scene.texture, 0 if scene.texture == "ringed" else rng.randrange(6))
    for x, y in CENTRES[scene.count]:
        left = x - side // 2 + rng.randint(-JITTER, JITTER)
        top = y - side // 2 + rng.randint(-JITTER, JITTER)
        corner = (SIDE - side) // 2
        tile = swatch.crop((corner, corner, corner + side, corner + side))
        _paste(image, tile, (left, top), body=body, ink=ink, colour=scene.colour)
        objects.paste(255, (left, top), body)
        objects.paste(255, (left, top), ink)
    return Rendering(image, objects)


def render(scene: Scene, seed: int) -> Image.Image:
    """The picture of a scene, 64x64 RGB."""
    return render_with_mask(scene, seed).image


def _paste(
    image: Image.Image,
    tile: Image.Image,
    at: tuple[int, int],
    *,
    body: Image.Image,
    ink: Image.Image,
    colour: str,
) -> None:
    """Paste one object: a dark rim that keeps it apart from any background, the body, the details."""
    image.paste(_rim(colour), (at[0] - 1, at[1] - 1), _grown(body, ink))
    image.paste(tile, at, body)
    image.paste(_rim(colour), at, ink)


def _rim(colour: str) -> tuple[int, int, int]:
    return (236, 236, 236) if colour == "black" else (26, 24, 30)


_GROWN: dict[tuple[int, int], Image.Image] = {}


def _grown(body: Image.Image, ink: Image.Image) -> Image.Image:
    key = (id(body), id(ink))
    if key not in _GROWN:
        wide = Image.new("L", (body.width + 2, body.height + 2), 0)
        wide.paste(body, (1, 1))
        wide.paste(255, (1, 1), ink)
        _GROWN[key] = wide.filter(ImageFilter.MaxFilter(3))
    return _GROWN[key]
