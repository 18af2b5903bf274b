"""Which words and which claims the lexical search considers, and how likely each is before any drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from agent.belief import Asked, Beliefs, Claim, Rates
from agent.lexicon import Lexicon
from agent.plans import CandidateKind
from agent.proposer import View
from sae.feature import Frozen
from tools.cards import unknown_words
from tools.protocols import Reading

READ, TAG, VOCABULARY, HINT = 0.9, 0.9, 0.8, 0.7
"""How far the best reading, tag, decoder word and bank prompt each suggest a word."""


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
    trust: float = 60.0
    """Log odds between two claims of which one tells the probe set by 1 of F1 better than the other."""
    cost_family: float = 0.3
    cost_and: float = 0.5
    cost_or: float = 3.5
    cost_not: float = 3.0
    plainness: float = 0.25
    """Share of these costs that is left where the probe set was read: there the F1 speaks."""
    siblings_tried: int = 4
    """Words each word of a promising claim is exchanged for, or given as company, by slot."""
    joined_asked: int = 150
    """Most believed ANDs whose own prompts are considered."""
    prompts_per_round: int = 8
    first_round: int = 10
    """Prompts of the first round."""
    sure: float = 0.97
    """Weight of the best claim at which the search stops."""
    least_images: int = 24
    """Images before it may stop, where no probe set was read."""
    least_shown: int = 4
    """Images that must have shown the best claim, its own prompts among them, before it may stop."""
    own_tested: int = 2
    """Own prompts of a claim that are tested, for an OR has several."""
    least_excluded: int = 2
    """Images that must have excluded it, by a change of each of its words, most of them at rest."""
    hopeless_images: int = 44
    """Images after which the search ends if no claim explains them better than chance does."""
    worth_racing: float = 0.01
    """Least weight of a claim that races though it is neither wider nor narrower than the best."""
    ladder: int = 5
    """Names that race."""
    claims_raced: int = 9
    """Fresh prompts, beside the names' own, that the race draws at most."""
    claims_a_name: int = 2
    """And for each name."""
    refuted: float = 0.005
    """Weight below which a claim wider or narrower than the best does not race."""
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
    lexicon: Lexicon,
    promise: Mapping[str, float],
    *,
    best: Sequence[str],
    readings: Sequence[Reading] = (),
    settings: LexicalSettings,
) -> dict[Claim, float]:
    """Every claim considered with its log prior (not normalised).

    Where the probe set was read, the F1 of the readings decides, and a claim that is not among them counts as
    the worst of its kind that is.
    """
    claims = _unread(lexicon, promise, best=best, settings=settings)
    usable = [
        each
        for each in readings
        if all(word in promise for word in each.words)
        and (each.kind != "not" or _has_rivals(each.words[0], promise, lexicon))
    ]
    if not usable:
        return claims
    told = {(each.kind, frozenset(each.words)): each.f1 for each in usable}
    least = _least(usable)
    most = max(told.values())
    known = {_same(claim): claim for claim in (*claims, *(Claim(each.kind, each.words) for each in usable))}
    return {
        claim: settings.trust * (told.get(same, least.get(claim.kind, 0.0)) - most)
        - settings.plainness * _cost(claim, lexicon, settings)
        for same, claim in known.items()
    }


def _has_rivals(word: str, promise: Mapping[str, float], lexicon: Lexicon) -> bool:
    """Whether a word's negation says more than its one sibling does: 'not small' is 'big'."""
    return sum(other in promise for other in lexicon.siblings(word)) > 1


def f1_of(claim: Claim, readings: Sequence[Reading]) -> float | None:
    """F1 of a claim among the readings; that of the worst of its kind where it is not among them."""
    told = {(each.kind, frozenset(each.words)): each.f1 for each in readings}
    return told.get(_same(claim), _least(readings).get(claim.kind))


def _least(readings: Sequence[Reading]) -> dict[CandidateKind, float]:
    return {
        kind: min(each.f1 for each in readings if each.kind == kind) for kind in {r.kind for r in readings}
    }


def _same(claim: Claim) -> tuple[CandidateKind, frozenset[str]]:
    return claim.kind, frozenset(claim.words)


def _cost(claim: Claim, lexicon: Lexicon, settings: LexicalSettings) -> float:
    kinds = {"and": settings.cost_and, "or": settings.cost_or, "not": settings.cost_not}
    families = sum(bool(lexicon.members(word)) for word in claim.words)
    return kinds.get(claim.kind, 0.0) + settings.cost_family * families


def _unread(
    lexicon: Lexicon, promise: Mapping[str, float], *, best: Sequence[str], settings: LexicalSettings
) -> dict[Claim, float]:
    """The same where no probe set was read: what suggests the words decides."""
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
        few = len(siblings) <= settings.few_siblings and _has_rivals(word, promise, lexicon)
        if few and not lexicon.members(word):
            claims[Claim("not", (word,))] = -settings.cost_not
    return claims


def _sources(view: View) -> Iterable[tuple[Sequence[tuple[str, float]], float]]:
    yield _read_words(view.facts.readings), READ
    yield view.facts.tags, TAG
    yield view.facts.vocabulary, VOCABULARY
    yield [(hint.prompt, hint.activation) for hint in view.hints], HINT


def _read_words(readings: Sequence[Reading]) -> list[tuple[str, float]]:
    """Words that are read alone or joined, each with the best F1 it takes part in."""
    best: dict[str, float] = {}
    for each in readings:
        if each.kind in ("one", "and"):
            best |= {word: max(each.f1, best.get(word, 0.0)) for word in each.words}
    return list(best.items())


def _prior(word: str, promise: Mapping[str, float], *, lexicon: Lexicon, settings: LexicalSettings) -> float:
    family = settings.cost_family if lexicon.members(word) else 0.0
    return -settings.unsuggested * (1.0 - promise[word]) - family


def _from_members(members: Sequence[str], promise: Mapping[str, float]) -> float:
    """A family is suggested as far as its second best member is: one member alone suggests itself."""
    hopes = sorted((promise.get(member, 0.0) for member in members), reverse=True)
    return hopes[1] if len(hopes) > 1 else 0.0
