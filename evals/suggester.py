"""The seam between the peers' loops and whoever has their ideas: scored texts in, new texts out."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, Protocol

from agent.budget import Usage
from agent.reward import Scale, reward
from evals.subject import Case
from tools.errors import UsageError

Goal = Literal["next", "more", "summary"]
"""One concept to try next; up to ``wanted`` more texts; the one concept that unites the history."""
Reward = Literal["auc", "mad", "mean"]
"""What a score is: AUROC or MAD against control images (tools/cosy.py), or the mean activation."""


class Scored(NamedTuple):
    """A text and what it earned."""

    text: str
    score: float


class Wish(NamedTuple):
    """What a loop tells its suggester; nothing else of the feature is known to it."""

    history: tuple[Scored, ...]
    """Best first."""
    forbidden: tuple[str, ...]
    """Every text tried so far, in order."""
    wanted: int
    """At most so many texts."""
    goal: Goal
    reward: Reward
    """The unit of the scores."""
    p99: float
    """Of the feature: the unit of activations."""
    images: int
    """Behind each score."""
    seed: int


class Suggestion(NamedTuple):
    """What a suggester answers."""

    texts: tuple[str, ...] = ()
    """Best first; at most as many as were asked for."""
    usage: Usage = Usage()
    fault: str | None = None
    """Why there is none."""


class Suggester(Protocol):
    """Who has the ideas."""

    def suggest(self, wish: Wish) -> Suggestion:
        """New texts. DependencyError when it cannot answer at all."""
        ...


class LimitedSuggester:
    """A suggester that is asked no more once it has cost so many dollars; None: no limit."""

    def __init__(self, suggester: Suggester, *, usd: float | None) -> None:
        self._suggester, self._usd, self._spent = suggester, usd, Usage()

    def suggest(self, wish: Wish) -> Suggestion:
        """What it suggests; nothing, and why, beyond the limit."""
        if self._usd is not None and (self._spent.usd or 0.0) >= self._usd:
            return Suggestion(fault=f"the limit of ${self._usd:g} is reached")
        suggestion = self._suggester.suggest(wish)
        self._spent += suggestion.usage
        return suggestion


def folded(text: str) -> str:
    """A text as it is compared: case folded, blanks made one."""
    return " ".join(text.casefold().split())


def share(score: float, wish: Wish) -> float:
    """A score as the share, 0..1, of its images that count as firing.

    AUROC A gives 2A - 1 (F3: the excess of its firing rate). MAD d gives erf(d / 2), which is the same of
    two normal groups of equal spread. A mean activation is graded in units of the p99 (agent/reward.py).
    """
    if wish.reward == "mean":
        return reward(score, Scale(p99=wish.p99))
    excess = 2.0 * score - 1.0 if wish.reward == "auc" else math.erf(score / 2.0)
    return min(1.0, max(0.0, excess))


def suggester_for(case: Case) -> Suggester:
    """The LLM behind the dictionary's proposer; where that is lexical, the lexical suggester."""
    from evals.lexical_suggester import LexicalSuggester
    from evals.llm_suggester import LlmSuggester

    card = case.toolbox.draw.card
    if case.subject.chat is None:
        return LexicalSuggester(case.subject.search_lexicon, card)
    proposer = case.subject.proposer
    if case.usd is not None and not proposer.priced:
        raise UsageError(
            f"The price of {proposer.name} is unknown, so the limit of ${case.usd:g} a feature cannot be "
            "kept; pass --yes to run without it."
        )
    return LimitedSuggester(LlmSuggester(case.subject.chat, card), usd=case.usd)
