"""Whether a name and a concept are the same words, and whether they are once synonyms are replaced."""

from __future__ import annotations

import re
from typing import NamedTuple

from agent.lexicon import Lexicon
from tools.cards import words_of

ARTICLES = frozenset({"a", "an", "the"})
NEGATIONS = frozenset({"no", "non", "not", "without"})
"""Each negates the one word that follows it, as in 'fish not red'."""

_OR = re.compile(r"\bor\b")
_LISTED = re.compile(r"\bor\b|,")


class WordMatch(NamedTuple):
    """In what way two texts are the same words."""

    exact: bool
    """But for case, articles, punctuation and the order of what 'or' joins; a plural is another word."""
    synonym: bool | None
    """The same canonical words, whatever their order; None where the lexicon cannot read the concept."""


class _Clause(NamedTuple):
    present: frozenset[str]
    absent: frozenset[str]


def same_words(name: str, concept: str, lexicon: Lexicon) -> WordMatch:
    """Compare a name with the true concept.

    Whether ``synonym`` can be told depends on the concept alone: were it None for a name that cannot be
    read, an unreadable name would leave the accuracy it should lower.
    """
    exact = _plain(name) == _plain(concept)
    theirs = _canonical(concept, lexicon)
    if _Clause(frozenset(), frozenset()) in theirs:
        return WordMatch(exact, None)
    return WordMatch(exact, exact or _canonical(name, lexicon) == theirs)


def _plain(text: str) -> frozenset[tuple[str, ...]]:
    said = (tuple(word for word in words_of(part) if word not in ARTICLES) for part in _alternatives(text))
    return frozenset(said)


def _canonical(text: str, lexicon: Lexicon) -> frozenset[_Clause]:
    return frozenset(_clause(part, lexicon) for part in _alternatives(text))


def _alternatives(text: str) -> list[str]:
    """What 'or' joins; commas separate alternatives only beside an 'or'."""
    folded = text.casefold()
    parts = _LISTED.split(folded) if _OR.search(folded) else [folded]
    return [part for part in parts if words_of(part)] or [""]


def _clause(text: str, lexicon: Lexicon) -> _Clause:
    stretches: list[list[str]] = [[]]
    for word in words_of(text):
        if word in NEGATIONS:
            stretches.append([])
        else:
            stretches[-1].append(word)
    first, *negated = [lexicon.read(" ".join(stretch)) for stretch in stretches]
    present: set[str] = set(first)
    absent: set[str] = set()
    for words in negated:
        absent.update(words[:1])
        present.update(words[1:])
    return _Clause(frozenset(present), frozenset(absent))
