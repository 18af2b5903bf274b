"""Every word of the drawn world: attributes, their values, synonyms, plurals and families."""

from __future__ import annotations

from typing import NamedTuple

FAMILIES: dict[str, tuple[str, ...]] = {
    "animal": ("fish", "bird", "cat", "butterfly"),
    "plant": ("tree", "flower", "mushroom", "cactus"),
    "vehicle": ("car", "boat", "plane", "rocket"),
    "building": ("house", "castle", "windmill", "tent"),
    "shape": ("star", "heart", "moon", "cross"),
}
OBJECTS: tuple[str, ...] = tuple(name for members in FAMILIES.values() for name in members)
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 32, 38),
    "orange": (245, 132, 20),
    "yellow": (246, 218, 40),
    "green": (34, 150, 56),
    "cyan": (40, 212, 214),
    "blue": (38, 66, 214),
    "purple": (132, 44, 184),
    "pink": (250, 128, 190),
    "white": (246, 246, 246),
    "black": (28, 28, 30),
}
TEXTURES: tuple[str, ...] = ("plain", "striped", "slanted", "dotted", "checkered", "ringed")
BACKGROUNDS: tuple[str, ...] = ("water", "grass", "sand", "snow", "sky", "night", "brick", "wood")
SIZES: tuple[str, ...] = ("big", "small")
COUNTS: tuple[int, ...] = (1, 2, 3)
COUNT_WORDS: dict[int, str] = {1: "one", 2: "two", 3: "three"}

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "object": OBJECTS,
    "colour": tuple(COLOURS),
    "texture": TEXTURES,
    "background": BACKGROUNDS,
    "size": SIZES,
    "count": tuple(COUNT_WORDS.values()),
}
"""Attribute to its values, in label order."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "bird": ("duck",),
    "cat": ("kitten",),
    "butterfly": ("moth",),
    "flower": ("blossom",),
    "mushroom": ("toadstool",),
    "car": ("automobile",),
    "boat": ("ship",),
    "plane": ("aircraft",),
    "rocket": ("spaceship",),
    "house": ("cottage",),
    "castle": ("fortress",),
    "windmill": ("mill",),
    "tent": ("teepee",),
    "moon": ("crescent",),
    "cross": ("plus",),
    "animal": ("creature",),
    "building": ("structure",),
    "shape": ("symbol",),
    "red": ("scarlet",),
    "orange": ("tangerine",),
    "yellow": ("golden",),
    "green": ("emerald",),
    "cyan": ("turquoise",),
    "blue": ("navy",),
    "purple": ("violet",),
    "pink": ("rosy",),
    "white": ("ivory",),
    "black": ("ebony",),
    "plain": ("solid", "unpatterned"),
    "striped": ("banded",),
    "slanted": ("diagonal",),
    "dotted": ("spotted",),
    "checkered": ("chequered",),
    "ringed": ("concentric",),
    "water": ("sea", "ocean"),
    "grass": ("meadow", "lawn"),
    "sand": ("beach", "desert"),
    "snow": ("ice",),
    "sky": ("clouds",),
    "night": ("starlight",),
    "brick": ("bricks",),
    "wood": ("planks",),
    "big": ("large",),
    "small": ("little", "tiny"),
    "one": ("single",),
    "two": ("pair",),
    "three": ("trio",),
}
IRREGULAR_PLURALS: dict[str, str] = {
    "fish": "fish",
    "butterfly": "butterflies",
    "cactus": "cacti",
    "fortress": "fortresses",
    "aircraft": "aircraft",
    "cross": "crosses",
    "plus": "pluses",
}
PLACES: dict[str, str] = {
    "sky": "in",
    "clouds": "in",
    "night": "at",
    "starlight": "in",
    "brick": "on",
    "water": "on",
}
"""Preposition a background takes; 'on' unless said."""
NEGATIONS: tuple[str, ...] = ("no", "not", "without", "non")


class Value(NamedTuple):
    """One value of one attribute; a family is the attribute 'family'."""

    attribute: str
    value: str


def plural(noun: str) -> str:
    """English plural of a noun of this world."""
    return IRREGULAR_PLURALS.get(noun, noun + "s")


def family_of(name: str) -> str:
    """The family of an object; KeyError lists nothing: every object of OBJECTS has one."""
    return next(family for family, members in FAMILIES.items() if name in members)


def nouns() -> tuple[str, ...]:
    """Canonical words that name what is drawn: objects, then families."""
    return OBJECTS + tuple(FAMILIES)


def _meanings() -> dict[str, Value]:
    canonical = {value: Value(name, value) for name, values in ATTRIBUTES.items() for value in values}
    canonical |= {family: Value("family", family) for family in FAMILIES}
    words = dict(canonical)
    words |= {syn: canonical[word] for word, others in SYNONYMS.items() for syn in others}
    for word, meaning in list(words.items()):
        if meaning.attribute in ("object", "family"):
            words[plural(word)] = meaning
    return words


MEANINGS: dict[str, Value] = _meanings()
"""Every content word (synonyms and plurals included) to what it means."""
