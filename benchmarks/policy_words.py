"""The words that the policy server knows: the agent's English list, a small thesaurus, a card's own words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from agent.lexicon import Word, WordBook, english
from tools.cards import FUNCTION_WORDS

ORDER: tuple[tuple[str, ...], ...] = (
    ("count", "size", "age", "light", "texture", "colour", "material", "object"),
    ("in", "place"),
    ("on", "background"),
)
SAME = (
    "car automobile motorcar",
    "boat ship vessel",
    "plane aircraft aeroplane airplane",
    "rocket spaceship spacecraft",
    "house cottage",
    "castle fortress",
    "windmill mill",
    "tent teepee wigwam",
    "flower blossom bloom",
    "mushroom toadstool",
    "butterfly moth",
    "cat kitten",
    "bird duck",
    "animal creature beast",
    "building structure edifice",
    "shape symbol",
    "moon crescent",
    "cross plus",
    "red scarlet crimson",
    "orange tangerine",
    "yellow golden",
    "green emerald",
    "cyan turquoise",
    "blue navy",
    "purple violet",
    "pink rosy",
    "white ivory",
    "black ebony",
    "gray grey",
    "plain solid unpatterned",
    "striped banded",
    "slanted diagonal",
    "dotted spotted",
    "checkered chequered checked",
    "ringed concentric",
    "water sea ocean",
    "grass lawn meadow",
    "sand beach desert",
    "snow ice",
    "sky clouds",
    "night starlight",
    "wood planks",
    "brick bricks",
    "big large huge",
    "small little tiny",
    "one single",
    "two pair",
    "three trio",
)
"""Words that a generator is likely to draw alike, the plainest of each first."""
PLURALS = {
    "butterfly": "butterflies",
    "cactus": "cacti",
    "cross": "crosses",
    "fish": "fish",
    "mouse": "mice",
    "person": "people",
    "sheep": "sheep",
    "wolf": "wolves",
}
KINDS = {"grass": "background"}
"""Kinds in which a word of the list is used here: a drawing stands on it."""
_NO_THINGS = FUNCTION_WORDS | {
    "or",
    "this",
    "shows",
    "image",
    "picture",
    "scene",
    "drawing",
    "thing",
    "things",
}


@lru_cache(maxsize=8)
def book_of(card_words: tuple[str, ...]) -> WordBook:
    """All words: of the list, of the thesaurus and of a card; synonyms read as the plainest of theirs."""
    entries = {word: Word(category=english().slot(word), family=_family(word)) for word in english().words}
    entries |= {word: entries[word].model_copy(update={"category": kind, "family": None})
                for word, kind in KINDS.items()}  # fmt: skip
    for head, *others in (line.split() for line in SAME):
        entries |= {each: Word(category=entries[head].category, canonical=head) for each in others}
    for word, plural in PLURALS.items():
        if word in entries:
            entries[word] = entries[word].model_copy(update={"plural": plural})
    known = WordBook(entries, ORDER, generic="thing")
    new = [each for each in card_words if not known.read(each) and each not in _NO_THINGS]
    fresh = {each: Word() for each in new if _singular(each, entries) not in entries}
    return WordBook({**entries, **fresh}, ORDER, generic="thing")


def listed(card_words: Sequence[str]) -> tuple[str, ...]:
    """Every spelling that the policy may think of, a card's included."""
    thesaurus = (word for line in SAME for word in line.split())
    return tuple(dict.fromkeys([*english().words, *thesaurus, *card_words]))


def _family(word: str) -> str | None:
    """The wider word: the one whose members hold it."""
    return _families().get(word)


@lru_cache(maxsize=1)
def _families() -> dict[str, str]:
    book = english()
    return {member: wider for wider in book.words for member in book.members(wider)}


def _singular(word: str, known: Iterable[str]) -> str:
    held = set(known)
    return next((each for each in (word.removesuffix("es"), word.removesuffix("s")) if each in held), word)
