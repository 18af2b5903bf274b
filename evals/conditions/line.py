"""LINE (NaCoSAE; arXiv 2604.08039): one concept a step, its images' score back to the suggester."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from agent.belief import Numbers
from evals.answer import Answer
from evals.control_classes import ControlClasses
from evals.plain_condition import PlainCondition
from evals.seed_classes import seed_classes
from evals.subject import Case
from evals.suggester import Goal, Reward, Scored, Suggester, Wish, suggester_for
from evals.trying import Attempt, Tries, random_of
from sae.metrics import auroc

_CALLED: dict[Reward, str] = {"auc": "AUC", "mad": "MAD", "mean": "mean activation"}


class Line(PlainCondition):
    """The loop as published: 21 concepts of 5 images, 11 questions to the suggester.

    Ours differs in this: images are drawn as every condition draws them (the generator's search template,
    seed = image index), not with a random angle and lighting; classes are the lexicon's nouns, their images
    the labelled probe images; a reply that cannot be used, or a concept that was tried, costs its step
    instead of ending the run; MAD is measured against a class on which the feature is not constant.
    """

    reward: Reward = "auc"
    steps: int = Field(default=10, ge=0)
    images: int = Field(default=5, ge=1)
    history: int = Field(default=10, ge=1)
    top_seeds: int = Field(default=5, ge=0)
    """Classes of highest mean activation on labelled probe images; random ones where there are none."""
    random_seeds: int = Field(default=5, ge=0)
    summary_of: int = Field(default=3, ge=0)
    """Best concepts that the last question is about; 0: it is not asked."""
    seed_classes: tuple[str, ...] | None = None
    """None: the lexicon's nouns (evals/seed_classes.py)."""

    @property
    def title(self) -> str:
        """LINE with its reward, and what deviates from its defaults."""
        usual, told = Line(), [_CALLED[self.reward]]
        if (self.steps, self.images) != (usual.steps, usual.images):
            told.append(f"{self.steps} x {self.images}")
        if self.history != usual.history:
            told.append(f"history of {self.history}")
        if (self.top_seeds, self.random_seeds) != (usual.top_seeds, usual.random_seeds):
            told.append(f"{self.top_seeds} + {self.random_seeds} seeds")
        if self.summary_of != usual.summary_of:
            told.append(f"summary of {self.summary_of}")
        if self.seed_classes is not None:
            told.append("own seed classes")
        return f"LINE ({', '.join(told)})"

    def answer(self, case: Case) -> Answer:
        """The best-scored of all concepts."""
        return self.search(case, suggester_for(case))

    def search(self, case: Case, suggester: Suggester) -> Answer:
        """The same with a given suggester."""
        return _Search(self, case, suggester).answer()


class _Search:
    """One run of the loop."""

    def __init__(self, line: Line, case: Case, suggester: Suggester) -> None:
        self._line, self._case, self._suggester = line, case, suggester
        lexicon = case.subject.lexicon
        self._classes = seed_classes(lexicon) if line.seed_classes is None else line.seed_classes
        self._control = ControlClasses(case, self._classes)
        self._p99 = case.toolbox.exemplars.facts(case.feature.index).p99
        self._tries = Tries(case, self._reward, seeds=range(line.images))

    def answer(self) -> Answer:
        line, tries = self._line, self._tries
        seeds = self._control.first(line.top_seeds, line.random_seeds)
        history = best_first(tries.draw(seeds, note="seed"))[: line.history]
        random = random_of(self._case, "history")
        for step in range(1, line.steps + 1):
            for new in self._asked(best_first(history), goal="next", note=f"step {step}"):
                history = updated(history, new, size=line.history, random=random)
        if line.summary_of:
            self._asked(best_first(tries.scored)[: line.summary_of], goal="summary", note="summary")
        return tries.answer()

    def _asked(self, history: Sequence[Scored], *, goal: Goal, note: str) -> list[Scored]:
        """The concept of one question, drawn and scored; none where it could not be."""
        tries = self._tries
        wish = Wish(
            history=tuple(history),
            forbidden=tries.texts,
            wanted=1,
            goal=goal,
            reward=self._line.reward,
            p99=self._p99,
            images=self._line.images,
            seed=int(random_of(self._case, note).integers(2**31)),
        )
        suggestion = self._suggester.suggest(wish)
        tries.usage += suggestion.usage
        if not suggestion.texts:
            tries.fail(f"{note}: {suggestion.fault}")
            return []
        known, concept = len(tries.texts), suggestion.texts[0]
        found = tries.draw([concept], note=note)
        if len(tries.texts) == known:
            tries.fail(f"{note}: tried before", concept)
        return found

    def _reward(self, attempt: Attempt) -> float | None:
        shown, reward = attempt.usable, self._line.reward
        if reward == "mean":
            return float(shown.mean())
        control = self._control.sample(attempt.text, varied=reward == "mad")
        if control is None:
            return None
        if reward == "auc":
            return auroc(shown, control)
        rest = control.astype(np.float64)
        return float((shown.astype(np.float64).mean() - rest.mean()) / rest.std(ddof=1))


def best_first(scored: Sequence[Scored]) -> list[Scored]:
    """By score, the earlier first where equal."""
    return sorted(scored, key=lambda each: -each.score)


def updated(
    history: Sequence[Scored], new: Scored, *, size: int, random: np.random.Generator
) -> list[Scored]:
    """The history with a new concept in it, which takes the place of the worst if it is better than that.

    If it is not, it takes the place of a random one (``removal_chances``). Up to ``size`` nothing has to go.
    """
    if len(history) < size:
        return [*history, new]
    out = int(np.argmin([each.score for each in history]))
    if new.score <= history[out].score:
        out = int(random.choice(len(history), p=removal_chances(history)))
    return [*history[:out], *history[out + 1 :], new]


def removal_chances(history: Sequence[Scored]) -> Numbers:
    """(history,) chances in proportion to max - score: the best stays; all alike where all scores are."""
    scores = np.array([each.score for each in history], dtype=np.float64)
    gaps = scores.max() - scores
    chances: Numbers = gaps / gaps.sum() if gaps.sum() > 0 else np.full(len(gaps), 1.0 / len(gaps))
    return chances
