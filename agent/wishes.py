"""What each feature would have drawn, were it named now: the prompts that test its likely claims."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from agent.lexicon import Lexicon
from agent.verdict import Bars
from tools.cards import unknown_words
from tools.protocols import FeatureFacts, GeneratorCard, Reading

Prompt = frozenset[str]
"""An image prompt as the words it says."""

CLAIMS = 8
"""Most likely claims of a feature that are looked at."""
SHARPNESS = 30.0
"""Log odds between two readings of which one tells the probe set by 1 of F1 better; softer than the search's
own, for what is drawn here serves others too."""
SUGGESTED = 6
"""Words of tags and decoder that count, where no probe set was read."""
SIBLINGS = 4
"""Nearest siblings of a word, any of which will do where it must be excluded."""
TOLD = 0.5
"""F1 of the best reading from which the claims of a feature count in full; below, they are guesses."""
UNSUGGESTED, FAMILY = 0.15, 2.0
"""Weight of a word for a feature that nothing suggests a word for, and how much more a family's weighs."""
UNIVERSE = 96
"""Words considered for those where the vocabulary is open."""
OWN, MEMBERS = 0.6, 0.1
"""Part of a claim's weight that is for showing it, and of this what a member of a family shows as well."""
SHOWN, RESTS = 4, 2
"""Images after which a claim counts as shown, and a change of one of its words as excluded."""


class Wish(NamedTuple):
    """Images of any of some prompts."""

    prompts: tuple[Prompt, ...]
    weight: float
    """All wishes of a feature together weigh 1 at most."""
    images: int
    """After as many there is nothing left to wish for."""


Wishes = Mapping[int, tuple[Wish, ...]]
"""By feature; one that is dead or dense wishes for nothing."""


def wishes_of(facts: Mapping[int, FeatureFacts], lexicon: Lexicon, card: GeneratorCard) -> Wishes:
    """The wishes of every feature, from its readings, else its tags and decoder words."""
    wishing = _Wishing(lexicon, card)
    return {index: tuple(wishing.of(each)) for index, each in facts.items()}


def general_wishes(facts: Mapping[int, FeatureFacts], lexicon: Lexicon, card: GeneratorCard) -> list[Wish]:
    """What the features that nothing suggests a word for wish for together: every word, families first."""
    wishing = _Wishing(lexicon, card)
    lost = sum(is_searched(each) and not wishing.claims(each) for each in facts.values())
    words = sorted(lexicon.words, key=lambda word: not lexicon.members(word)) if lost else []
    drawable = [word for word in words if wishing.can_draw(frozenset((word,)))]
    kept = drawable if card.vocabulary is not None else drawable[:UNIVERSE]
    weights = {word: UNSUGGESTED * lost * (FAMILY if lexicon.members(word) else 1.0) for word in kept}
    return [Wish((frozenset((word,)),), weight, SHOWN) for word, weight in weights.items()]


def is_searched(facts: FeatureFacts) -> bool:
    """Whether naming the feature draws anything: not where it is never on, or nearly always."""
    return 0 < facts.density < Bars().dense


class _Claim(NamedTuple):
    kind: str
    words: tuple[str, ...]
    weight: float


class _Wishing:
    def __init__(self, lexicon: Lexicon, card: GeneratorCard) -> None:
        self._lexicon, self._card = lexicon, card
        self._drawable: dict[Prompt, bool] = {}

    def of(self, facts: FeatureFacts) -> Iterator[Wish]:
        for claim in self.claims(facts) if is_searched(facts) else ():
            for prompts, share, images in self._parts(claim):
                kept = tuple(dict.fromkeys(each for each in prompts if self.can_draw(each)))
                if kept:
                    yield Wish(kept, claim.weight * share, images)

    def claims(self, facts: FeatureFacts) -> list[_Claim]:
        """The likely claims, with weights that add up to 1, or to less where they tell little."""
        found = self._read(facts.readings)
        told = min(1.0, facts.readings[0].f1 / TOLD) if found else 1.0
        found = found or self._suggested(facts)
        total = sum(each.weight for each in found)
        return [each._replace(weight=told * each.weight / total) for each in found]

    def can_draw(self, prompt: Prompt) -> bool:
        if prompt not in self._drawable:
            text = self._lexicon.compose(sorted(prompt))
            self._drawable[prompt] = bool(text) and not unknown_words(self._card, text)
        return self._drawable[prompt]

    def _read(self, readings: Sequence[Reading]) -> list[_Claim]:
        known = [(each, self._canonical(each.words)) for each in readings]
        usable = [(each, words) for each, words in known if len(words) == len(each.words)][:CLAIMS]
        best = max((each.f1 for each, _ in usable), default=0.0)
        return [_Claim(each.kind, words, math.exp(SHARPNESS * (each.f1 - best))) for each, words in usable]

    def _suggested(self, facts: FeatureFacts) -> list[_Claim]:
        promise: dict[str, float] = {}
        for told in (facts.tags, facts.vocabulary):
            most = max((strength for _, strength in told), default=0.0)
            for text, strength in told if most > 0 else ():
                for word in self._lexicon.read(text):
                    promise[word] = max(promise.get(word, 0.0), strength / most)
        best = sorted(promise, key=lambda word: -promise[word])[:SUGGESTED]
        return [_Claim("one", (word,), promise[word]) for word in best if promise[word] > 0]

    def _canonical(self, words: Sequence[str]) -> tuple[str, ...]:
        return tuple(found[0] for word in words if len(found := self._lexicon.read(word)) == 1)

    def _parts(self, claim: _Claim) -> Iterator[tuple[list[Prompt], float, int]]:
        """Prompts any of which will do, their share of the claim's weight, and images: what shows the claim,
        and what differs from it in one word."""
        words = claim.words
        if claim.kind == "and":
            yield [frozenset(words)], OWN, SHOWN
            for word in words:
                others = frozenset(words) - {word}
                yield [others | each for each in self._siblings(word, words)], (1 - OWN) / len(words), RESTS
        elif claim.kind == "not":
            yield self._siblings(words[0], words), OWN, SHOWN
            yield [frozenset(words)], 1 - OWN, RESTS
        else:
            for word in words:
                yield [frozenset((word,))], (OWN - MEMBERS) / len(words), SHOWN
                yield self._members(word), MEMBERS / len(words), SHOWN
                yield self._siblings(word, words), (1 - OWN) / len(words), RESTS

    def _members(self, word: str) -> list[Prompt]:
        return [frozenset((each,)) for each in self._lexicon.members(word) or (word,)]

    def _siblings(self, word: str, words: Sequence[str]) -> list[Prompt]:
        found = (each for each in self._lexicon.siblings(word) if each not in words)
        drawable = (each for each in map(lambda other: frozenset((other,)), found) if self.can_draw(each))
        return [each for each, _ in zip(drawable, range(SIBLINGS), strict=False)]
