"""MILS (arXiv 2501.18096), its image loop: many texts a step, one image each, the best kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evals.answer import Answer
from evals.control_classes import ControlClasses
from evals.plain_condition import PlainCondition
from evals.seed_classes import seed_classes
from evals.subject import Case
from evals.suggester import Scored, Suggester, Wish, suggester_for
from evals.trying import Attempt, Tries, random_of
from tools.cards import unknown_words

GENERIC = "thing"
"""The bare prompt that the pool starts with."""
BEST, RANDOM = 5, 5
"""Seed classes: those the feature likes best on labelled images, and others at random."""


class Mils(PlainCondition):
    """The loop as published, with the feature's activation as its scorer: up to 951 images and 19 questions.

    Ours differs in this: kept texts are not drawn again, for their one seed would give the same image; a
    text that was tried is not drawn again either; a reply that cannot be used costs its step.
    """

    steps: int = Field(default=19, ge=0)
    proposals: int = Field(default=50, ge=1)
    """Texts asked for a step."""
    keep: int = Field(default=20, ge=1)
    start: Literal["prompt", "classes"] = "prompt"
    """What the pool starts with: one bare prompt, or the ten seed classes that LINE gets."""
    seed: int = Field(default=2024, ge=0)

    @property
    def title(self) -> str:
        """MILS, and what deviates from its defaults."""
        usual = Mils()
        told: list[str] = []
        if (self.steps, self.proposals) != (usual.steps, usual.proposals):
            told.append(f"{self.steps} x {self.proposals}")
        if self.start != usual.start:
            told.append("from seed classes")
        if self.keep != usual.keep:
            told.append(f"{self.keep} kept")
        if self.seed != usual.seed:
            told.append(f"seed {self.seed}")
        return f"MILS ({', '.join(told)})" if told else "MILS"

    def answer(self, case: Case) -> Answer:
        """The best-scored of all texts."""
        return self.search(case, suggester_for(case))

    def search(self, case: Case, suggester: Suggester) -> Answer:
        """The same with a given suggester."""
        p99 = case.toolbox.exemplars.facts(case.feature.index).p99
        tries = Tries(case, _activation, seeds=(self.seed,))
        kept = self._best(tries.draw(self._pool(case), note="seed"))
        for step in range(1, self.steps + 1):
            wish = Wish(
                history=tuple(kept),
                forbidden=tries.texts,
                wanted=self.proposals,
                goal="more",
                reward="mean",
                p99=p99,
                images=1,
                seed=int(random_of(case, f"step {step}").integers(2**31)),
            )
            suggestion = suggester.suggest(wish)
            tries.usage += suggestion.usage
            if suggestion.fault is not None:
                tries.fail(f"step {step}: {suggestion.fault}")
            kept = self._best([*kept, *tries.draw(suggestion.texts[: self.proposals], note=f"step {step}")])
        return tries.answer()

    def _pool(self, case: Case) -> list[str]:
        if self.start == "prompt":
            return [bare_prompt(case)]
        return ControlClasses(case, seed_classes(case.subject.lexicon)).first(BEST, RANDOM)

    def _best(self, scored: list[Scored]) -> list[Scored]:
        return sorted(scored, key=lambda each: -each.score)[: self.keep]


def bare_prompt(case: Case) -> str:
    """'thing' where it can be drawn, else the most general word: the one with the most kinds."""
    lexicon, card = case.subject.lexicon, case.toolbox.draw.card
    if not unknown_words(card, GENERIC):
        return lexicon.compose((GENERIC,))
    drawable = [word for word in lexicon.words if not unknown_words(card, word)]
    return max(drawable, key=lambda word: len(lexicon.members(word)), default=GENERIC)


def _activation(attempt: Attempt) -> float:
    return float(attempt.usable.mean())
