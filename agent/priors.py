"""Which words and which claims the lexical search considers, and how likely each is before any drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from agent.belief import Asked, Beliefs, Claim, Rates
from agent.lexicon import Lexicon
from agent.proposer import View
from sae.feature import Frozen
from tools.cards import unknown_words

TAG, VOCABULARY, HINT = 0.9, 0.8, 0.7
"""How far the best tag, decoder word and bank prompt each suggest a word."""


class LexicalSettings(Frozen):
    """Every constant of the lexical search."""

    rates: Rates = Rates()
    universe: int = 96
    """Words considered where the vocabulary is open."""
    words_joined: int = 40
    """Words that are joined by AND: half by what suggests them before any drawing, for the parts of an AND
    alone are refuted early; the rest by their evidence."""
    words_either: int = 10
    """Most promising words that are joined by OR."""
    few_siblings: int = 12
    """Most siblings of a word whose negation is considered."""
    unsuggested: float = 3.0
    """Log odds lost by a word that neither tags nor decoder nor bank suggest."""
    cost_family: float = 0.3
    cost_and: float = 0.5
    cost_or: float = 3.5
    cost_not: float = 3.0
    siblings_tried: int = 4
    """Words each word of a promising claim is exchanged for, or given as company, by slot."""
    joined_asked: int = 150
    """Most believed ANDs whose own prompts are considered."""
    prompts_per_round: int = 6
    first_round: int = 10
    """Prompts of the first round."""
    sure: float = 0.97
    """Weight of the best claim at which the search stops."""
    least_images: int = 24
    """Images before it may stop."""
    worth_racing: float = 0.01
    """Least weight of a claim that races though it is neither wider nor narrower than the best."""
    ladder: int = 5
    """Names that race."""
    claims_raced: int = 9
    """Fresh prompts, beside the names' own, that the race draws."""
    race_variety: float = 0.5
    """How far a prompt of the race is worth less because another asks the same of the names."""


def suggested(view: View, lexicon: Lexicon, *, universe: int) -> dict[str, float]:
    """Every word considered to how far the evidence before any drawing suggests it, 0..1; best first.

    All drawable words where the generator's vocabulary is closed; else ``universe`` of them.
    """
    doubt: dict[str, float] = {}
    for told, trust in _sources(view):
        most = max((strength for _, strength in told), default=0.0)
        for text, strength in told:
            for word in lexicon.read(text) if most > 0 else ():
                doubt[word] = doubt.get(word, 1.0) * (1.0 - trust * max(0.0, strength / most))
    promise = {word: 1.0 - left for word, left in doubt.items()}
    for word in lexicon.words:
        promise[word] = max(promise.get(word, 0.0), _from_members(lexicon.members(word), promise))
    drawable = {word: hope for word, hope in promise.items() if not unknown_words(view.card, word)}
    # Families come before other words that nothing suggests: one question settles many words.
    order = sorted(drawable, key=lambda word: (-drawable[word], not lexicon.members(word)))
    kept = order if view.card.vocabulary is not None else order[:universe]
    return {word: drawable[word] for word in kept}


def promising(
    lexicon: Lexicon, promise: Mapping[str, float], *, asked: Sequence[Asked], settings: LexicalSettings
) -> list[str]:
    """Words in the order of their weight as single claims, evidence included."""
    singles = {
        Claim("one", (word,)): _prior(word, promise, lexicon=lexicon, settings=settings) for word in promise
    }
    beliefs = Beliefs(lexicon, singles, asked=asked, rates=settings.rates)
    scores = np.array(list(singles.values())) + beliefs.log_evidence
    words = list(promise)
    return [words[at] for at in np.argsort(-scores, kind="stable")]


def claims_of(
    lexicon: Lexicon, promise: Mapping[str, float], *, best: Sequence[str], settings: LexicalSettings
) -> dict[Claim, float]:
    """Every claim considered with its log prior (not normalised)."""
    prior = {word: _prior(word, promise, lexicon=lexicon, settings=settings) for word in promise}
    claims = {Claim("one", (word,)): prior[word] for word in promise}
    hopeful = sorted(promise, key=lambda word: -promise[word])[: settings.words_joined // 2]
    joined = list(dict.fromkeys([*hopeful, *best]))[: settings.words_joined]
    for first, second in combinations(joined, 2):
        if not lexicon.slot(first) or lexicon.slot(first) != lexicon.slot(second):
            claims[Claim("and", (first, second))] = prior[first] + prior[second] - settings.cost_and
    for first, second in combinations(best[: settings.words_either], 2):
        if not (lexicon.is_kind_of(first, second) or lexicon.is_kind_of(second, first)):
            claims[Claim("or", (first, second))] = prior[first] + prior[second] - settings.cost_or
    for word in promise:
        siblings = [other for other in lexicon.siblings(word) if other in promise]
        if 0 < len(siblings) <= settings.few_siblings and not lexicon.members(word):
            claims[Claim("not", (word,))] = -settings.cost_not
    return claims


def _sources(view: View) -> Iterable[tuple[Sequence[tuple[str, float]], float]]:
    yield view.facts.tags, TAG
    yield view.facts.vocabulary, VOCABULARY
    yield [(hint.prompt, hint.activation) for hint in view.hints], HINT


def _prior(word: str, promise: Mapping[str, float], *, lexicon: Lexicon, settings: LexicalSettings) -> float:
    family = settings.cost_family if lexicon.members(word) else 0.0
    return -settings.unsuggested * (1.0 - promise[word]) - family


def _from_members(members: Sequence[str], promise: Mapping[str, float]) -> float:
    """A family is suggested as far as its second best member is: one member alone suggests itself."""
    hopes = sorted((promise.get(member, 0.0) for member in members), reverse=True)
    return hopes[1] if len(hopes) > 1 else 0.0
