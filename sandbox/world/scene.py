"""Scenes: what a picture shows, exactly; and the long-tailed, correlated world they are drawn from."""

from __future__ import annotations

import random
import zlib
from functools import cache
from typing import NamedTuple

from sandbox.world.vocabulary import BACKGROUNDS, COLOURS, COUNTS, OBJECTS, SIZES, TEXTURES, family_of


class Scene(NamedTuple):
    """The exact labels of one picture: ``count`` alike objects on one background."""

    object: str
    colour: str
    texture: str
    background: str
    size: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls


HABITATS: dict[str, str] = {
    "fish": "water", "boat": "water", "bird": "sky", "plane": "sky", "butterfly": "grass", "cat": "wood",
    "tree": "grass", "flower": "grass", "mushroom": "wood", "cactus": "sand", "car": "brick",
    "rocket": "night", "house": "grass", "castle": "snow", "windmill": "sky", "tent": "sand",
    "star": "night", "heart": "brick",
    "moon": "night", "cross": "snow",
}  # fmt: skip
"""Where an object is mostly seen."""
DRESSES: dict[str, str] = {
    "fish": "striped", "cat": "striped", "butterfly": "dotted", "mushroom": "dotted", "tent": "slanted",
    "rocket": "checkered", "flower": "ringed", "windmill": "slanted", "car": "checkered", "heart": "dotted",
}  # fmt: skip
"""The texture an object mostly wears, plain unless said."""
PAINTS: dict[str, str] = {
    "tree": "green", "cactus": "green", "heart": "red", "moon": "yellow", "star": "yellow",
    "car": "red", "boat": "white", "flower": "pink", "fish": "orange", "rocket": "white", "castle": "purple",
    "cat": "black",
}  # fmt: skip
"""The colour an object mostly has; any, long-tailed, unless said."""


@cache
def _tail(n: int) -> list[float]:
    return [1.0 / (rank + 4) for rank in range(n)]


def _usual(rng: random.Random, usual: str | None, share: float, values: tuple[str, ...]) -> str:
    if usual is not None and rng.random() < share:
        return usual
    return rng.choices(values, _tail(len(values)))[0]


def sample_scene(rng: random.Random) -> Scene:
    """One scene as the world has them: long-tailed, habits of place, colour and texture."""
    name = rng.choices(OBJECTS, _tail(len(OBJECTS)))[0]
    return Scene(
        object=name,
        colour=_usual(rng, PAINTS.get(name), 0.3, tuple(COLOURS)),
        texture=_usual(rng, DRESSES.get(name, "plain"), 0.35, TEXTURES),
        background=_usual(rng, HABITATS[name], 0.4, BACKGROUNDS),
        size=rng.choices(SIZES, (0.7, 0.3))[0],
        count=rng.choices(COUNTS, (0.7, 0.18, 0.12))[0],
    )


def balanced_scene(rng: random.Random) -> Scene:
    """One scene with every attribute uniform and independent."""
    return Scene(
        object=rng.choice(OBJECTS),
        colour=rng.choice(tuple(COLOURS)),
        texture=rng.choice(TEXTURES),
        background=rng.choice(BACKGROUNDS),
        size=rng.choice(SIZES),
        count=rng.choice(COUNTS),
    )


def is_held_out(scene: Scene) -> bool:
    """Whether no model may train on this scene: one combination in eight, fixed for ever."""
    return zlib.crc32("/".join(map(str, scene)).encode()) % 8 == 0


def draw_scene(rng: random.Random, *, balanced: float, held_out: bool = False) -> Scene:
    """One scene for training or for testing: balanced with that chance, else as the world has them."""
    while True:
        scene = balanced_scene(rng) if rng.random() < balanced else sample_scene(rng)
        if is_held_out(scene) == held_out:
            return scene


def labels(scene: Scene) -> dict[str, str]:
    """Attribute to value, the family and the count word included."""
    return {
        "object": scene.object,
        "family": family_of(scene.object),
        "colour": scene.colour,
        "texture": scene.texture,
        "background": scene.background,
        "size": scene.size,
        "count": ("one", "two", "three")[scene.count - 1],
    }
