"""Generator cards: what a generator draws, and the words it knows."""

from __future__ import annotations

import re
from functools import lru_cache

from tools.errors import ToolError
from tools.protocols import GeneratorCard

FUNCTION_WORDS = frozenset({"a", "an", "the", "of", "on", "in", "at", "with", "and"})
"""Words that any generator may be given: they show nothing by themselves. Negations are not among them."""

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


def words_of(text: str) -> tuple[str, ...]:
    """The words of a prompt in order, case folded; punctuation is dropped, hyphens inside a word stay."""
    return tuple(_WORD.findall(text.casefold()))


@lru_cache(maxsize=16)
def _known(card: GeneratorCard) -> frozenset[str] | None:
    if card.vocabulary is None:
        return None
    templates = words_of(f"{card.search_template} {card.judge_template}")
    return FUNCTION_WORDS | {word.casefold() for word in card.vocabulary} | set(templates)


def unknown_words(card: GeneratorCard, prompt: str) -> tuple[str, ...]:
    """The words of a prompt that a closed vocabulary lacks; empty when the vocabulary is open.

    The words of the card's templates and FUNCTION_WORDS are always known.
    """
    known = _known(card)
    return () if known is None else tuple(word for word in words_of(prompt) if word not in known)


def require_known(card: GeneratorCard, prompt: str) -> None:
    """ToolError naming the words of a prompt that the card's generator does not know."""
    unknown = dict.fromkeys(unknown_words(card, prompt))
    if unknown:
        listed = ", ".join(repr(word) for word in unknown)
        raise ToolError(f"{card.generator} does not know {listed}; use only words of its vocabulary.")
