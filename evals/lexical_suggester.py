"""A suggester without an LLM: the engine of the lexical proposer, told nothing but a loop's own scores.

Hypotheses are what a prompt can say: a word, or two words of different kinds together. Their weights follow
from the visible history alone (agent/belief.py); the most believed that was not tried is suggested.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

from agent.belief import Asked, Beliefs, Claim
from agent.lexicon import Lexicon
from agent.priors import LexicalSettings
from evals.suggester import Goal, Suggestion, Wish, folded, share
from tools.cards import unknown_words
from tools.protocols import GeneratorCard

MOST_WORDS = 96
"""Words of which all pairs are considered; of a larger lexicon, the most believed are paired."""


class Known(NamedTuple):
    """What can be said to a generator."""

    lexicon: Lexicon
    card: GeneratorCard
    settings: LexicalSettings = LexicalSettings()


class LexicalSuggester:
    """Suggests the most believed claims; implements Suggester. The same wish gets the same texts."""

    def __init__(
        self, lexicon: Lexicon, card: GeneratorCard, settings: LexicalSettings | None = None
    ) -> None:
        self._known = Known(lexicon, card, settings or LexicalSettings())

    def suggest(self, wish: Wish) -> Suggestion:
        """Up to ``wish.count`` texts that are not forbidden, most believed first, ties in random order."""
        asked = [self._asked(text, score, wish) for text, score in wish.history]
        space = _space(self._known, self._words_joined(asked), wish.goal)
        tried = {folded(text) for text in wish.forbidden}
        ranked = (space.texts[claim] for claim in _ranked(self._known, space, asked=asked, seed=wish.seed))
        fresh = [text for text in ranked if text not in tried][: wish.wanted]
        return Suggestion(tuple(fresh), fault=None if fresh else "no word or pair of words is left")

    def _asked(self, text: str, score: float, wish: Wish) -> Asked:
        words = frozenset(self._known.lexicon.read(text))
        return Asked(words, images=wish.images, fired=wish.images * share(score, wish))

    def _words_joined(self, asked: Sequence[Asked]) -> tuple[str, ...]:
        """The words that are paired: all where few can be drawn, else the most believed; in their order."""
        words = _drawable(self._known)
        if len(words) <= MOST_WORDS:
            return words
        best = _ranked(self._known, _space(self._known, (), "next"), asked=asked, seed=0)
        chosen = {claim.words[0] for claim in best[: self._known.settings.words_joined]}
        return tuple(word for word in words if word in chosen)


class Space(NamedTuple):
    """Every claim that can be drawn. Never written to."""

    texts: dict[Claim, str]
    """Their names."""
    claims: dict[Claim, float]
    """Their log priors, as of words that nothing suggests."""


@lru_cache(maxsize=16)
def _drawable(known: Known) -> tuple[str, ...]:
    """The words that the card does not refuse: every searcher is told the card."""
    return tuple(word for word in known.lexicon.words if not unknown_words(known.card, word))


@lru_cache(maxsize=64)
def _space(known: Known, joined: tuple[str, ...], goal: Goal) -> Space:
    """``joined``: the words that are paired. In a summary a family costs no more than another word."""
    claims = [Claim("one", (word,)) for word in _drawable(known)]
    claims += [Claim("and", pair) for pair in combinations(joined, 2) if _fit(known.lexicon, *pair)]
    said: dict[str, Claim] = {}
    for claim in claims:
        text = folded(known.lexicon.phrase(claim.words))
        if _can_be_said(known, claim, text):
            said.setdefault(text, claim)
    return Space(
        texts={claim: text for text, claim in said.items()},
        claims={claim: _log_prior(known, claim, goal) for claim in said.values()},
    )


def _log_prior(known: Known, claim: Claim, goal: Goal) -> float:
    settings = known.settings
    families = 0 if goal == "summary" else sum(bool(known.lexicon.members(word)) for word in claim.words)
    joining = settings.cost_and if claim.kind == "and" else 0.0
    return -(settings.unsuggested * len(claim.words) + settings.cost_family * families + joining)


def _ranked(known: Known, space: Space, *, asked: Sequence[Asked], seed: int) -> list[Claim]:
    beliefs = Beliefs(known.lexicon, space.claims, asked=asked, rates=known.settings.rates)
    logs = np.array([*space.claims.values()]) + beliefs.log_evidence
    # Claims that the history cannot tell apart may differ in the last bit.
    ties = np.random.default_rng(seed).random(len(logs))
    return [beliefs.claims[at] for at in np.lexsort((ties, -np.round(logs, 9)))]


def _fit(lexicon: Lexicon, first: str, second: str) -> bool:
    return not lexicon.slot(first) or lexicon.slot(first) != lexicon.slot(second)


def _can_be_said(known: Known, claim: Claim, text: str) -> bool:
    if set(known.lexicon.read(text)) != set(claim.words):
        return False
    prompt = known.lexicon.compose(claim.words)
    return not unknown_words(known.card, text) and not unknown_words(known.card, prompt)
