"""A suggester that says what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from agent.budget import Usage
from evals.suggester import Suggestion, Wish
from tools.fake_images import FAKE_VOCABULARY

CALL = Usage(calls=1, prompt_tokens=100, completion_tokens=10, usd=0.001)


class Scripted:
    """Answers from a list, as many texts as are wanted; every answer costs one call."""

    def __init__(self, texts: Iterable[str | None]) -> None:
        """``None``: a reply that cannot be used."""
        self._texts: Iterator[str | None] = iter(texts)
        self.wishes: list[Wish] = []

    def suggest(self, wish: Wish) -> Suggestion:
        """The next texts; a fault where the next is None or nothing is left."""
        self.wishes.append(wish)
        found: list[str] = []
        while len(found) < wish.wanted:
            text = next(self._texts, None)
            if text is None:
                break
            found.append(text)
        return Suggestion(tuple(found), CALL, fault=None if found else "it cannot be used")


def many_texts() -> Iterator[str]:
    """2,600 texts of three words each, no two of which show the same."""
    return (" ".join(words) for words in combinations(FAKE_VOCABULARY, 3))
