"""The nouns that peers' loops start from, and which concepts can be said with them alone (findings F7)."""

from __future__ import annotations

from agent.lexicon import Lexicon
from tools.cards import FUNCTION_WORDS, words_of

OBJECT = "object"
_JOINS = FUNCTION_WORDS | {"or"}


def seed_classes(lexicon: Lexicon) -> tuple[str, ...]:
    """The object classes of a lexicon, families left out; all its words where it knows no objects.

    They play the part that the names of the ImageNet classes have in LINE.
    """
    nouns = tuple(
        word for word in lexicon.words if lexicon.slot(word) == OBJECT and not lexicon.members(word)
    )
    return nouns or lexicon.words


def inside_seeds(concept: str, lexicon: Lexicon) -> bool:
    """Whether every content word of a concept is a seed class, by any of its spellings.

    A concept without content words is not, nor is one that negates: 'not' is counted as a content word.
    """
    classes = frozenset(seed_classes(lexicon))
    content = [word for word in words_of(concept) if word not in _JOINS]
    known = frozenset(lexicon.read(concept))
    return bool(content) and known <= classes and all(_is_read(word, lexicon, known) for word in content)


def _is_read(word: str, lexicon: Lexicon, known: frozenset[str]) -> bool:
    """Whether a word says something by itself or is part of a longer entry that the lexicon read."""
    return bool(lexicon.read(word)) or any(word in words_of(entry) for entry in known)
