"""The caption grammar: full, partial and one-word captions of a scene, with synonyms and plurals."""

from __future__ import annotations

import random
from collections.abc import Mapping

from sandbox.world.scene import Scene, labels
from sandbox.world.vocabulary import COUNT_WORDS, MEANINGS, NEGATIONS, PLACES, SYNONYMS, plural

TEMPLATES: tuple[str, ...] = (
    "{}",
    "a picture of {}",
    "a drawing of {}",
    "an image of {}",
    "a scene with {}",
)
"""What captions are put into; a search may use any of them."""
JUDGE_TEMPLATE = "this shows {}"
"""Known to every model, used by no search: the sealed judge's own."""
GENERIC = ("thing", "things")
"""The noun of a caption that names no object."""
ORDER: tuple[str, ...] = ("count", "size", "texture", "colour", "object", "background")
"""Attributes in the order a caption says them; 'family' stands where 'object' does."""
SINGLE_WEIGHTS: dict[str, float] = {
    "object": 8, "family": 2, "colour": 3, "texture": 3, "background": 2, "size": 1, "count": 1,
}  # fmt: skip
SYNONYM_SHARE = 0.2


def say(word: str, rng: random.Random | None = None) -> str:
    """The word, or now and then a synonym of it when a source of chance is given."""
    others = SYNONYMS.get(word, ())
    return rng.choice(others) if rng and others and rng.random() < SYNONYM_SHARE else word


def article(phrase: str) -> str:
    """'a' or 'an' as English wants before a phrase."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def place(background: str) -> str:
    """'on water', 'in sky', …"""
    return f"{PLACES.get(background, 'on')} {background}"


def phrase(parts: Mapping[str, str], rng: random.Random | None = None) -> str:
    """A noun phrase that says exactly ``parts`` (attribute to value), e.g. 'two red fish on water'."""
    many = parts.get("count") in (COUNT_WORDS[2], COUNT_WORDS[3])
    noun = parts.get("object") or parts.get("family")
    head = say(noun, rng) if noun else GENERIC[0]
    words = [say(parts[name], rng) for name in ("size", "texture", "colour") if name in parts]
    words.append(plural(head) if many else head)
    core = " ".join(words)
    if "count" in parts:
        count = say(parts["count"], rng)
        core = f"a {count} of {core}" if count in ("pair", "trio") else f"{count} {core}"
    else:
        core = article(core)
    return f"{core} {place(say(parts['background'], rng))}" if "background" in parts else core


def single(attribute: str, value: str, rng: random.Random | None = None) -> str:
    """A one-word caption; nouns now and then in the plural."""
    word = say(value, rng)
    nominal = attribute in ("object", "family")
    return plural(word) if nominal and rng and rng.random() < 0.2 else word


def caption(scene: Scene, rng: random.Random) -> str:
    """A caption of a scene: 30 % full, 35 % partial, 35 % one word (those in no template half the time)."""
    known = labels(scene)
    kind = rng.random()
    if kind < 0.35:
        names = list(SINGLE_WEIGHTS)
        name = rng.choices(names, list(SINGLE_WEIGHTS.values()))[0]
        said = single(name, known[name], rng)
        return said if rng.random() < 0.5 else rng.choice((*TEMPLATES, JUDGE_TEMPLATE)).format(said)
    said_parts = full_parts(scene) if kind < 0.65 else partial_parts(scene, rng)
    return rng.choice((*TEMPLATES, JUDGE_TEMPLATE)).format(phrase(said_parts, rng))


def full_parts(scene: Scene) -> dict[str, str]:
    """Everything a full caption says."""
    known = labels(scene)
    return {name: known[name] for name in ORDER}


def partial_parts(scene: Scene, rng: random.Random) -> dict[str, str]:
    """A random non-empty part of what is true; the object gives way to its family one time in six."""
    known = labels(scene)
    chances = {"object": 0.8, "colour": 0.5, "texture": 0.45, "background": 0.45, "size": 0.2, "count": 0.3}
    parts = {name: known[name] for name in ORDER if rng.random() < chances[name]}
    if "object" in parts and rng.random() < 1 / 6:
        del parts["object"]
        parts["family"] = known["family"]
    return parts or {"object": known["object"]}


def all_words() -> tuple[str, ...]:
    """Every word any caption can hold, sorted: the closed vocabulary of the world's models."""
    frames = " ".join((*TEMPLATES, JUDGE_TEMPLATE)).replace("{}", " ").split()
    function = {
        "a",
        "an",
        "of",
        "and",
        "or",
        "on",
        "in",
        "at",
        *GENERIC,
        *PLACES.values(),
        *frames,
        *NEGATIONS,
    }
    return tuple(sorted(set(MEANINGS) | (function - set(NEGATIONS))))
