"""The one list of names that every method of a closed vocabulary chooses from."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from itertools import combinations

from agent.lexicon import Lexicon

MOST = 6000


@lru_cache(maxsize=16)
def names_of(lexicon: Lexicon, *, most: int = MOST) -> tuple[str, ...]:
    """Every word, then every phrase of two words that can hold together; the words alone above ``most``.

    Two words hold together when their kinds are known and differ: a family is of the kind of its members. It
    is what the lexical search looks through, its OR and NOT left out.
    """
    words = lexicon.words
    kinds = {word: lexicon.slot(word) for word in words}
    known = [word for word in words if kinds[word]]
    if len(words) + _pairs(Counter(kinds[word] for word in known)) > most:
        return words
    pairs = (pair for pair in combinations(known, 2) if kinds[pair[0]] != kinds[pair[1]])
    return tuple(dict.fromkeys([*words, *(lexicon.phrase(pair) for pair in pairs)]))


def _pairs(sizes: Counter[str]) -> int:
    total = sizes.total()
    return (total * total - sum(size * size for size in sizes.values())) // 2
