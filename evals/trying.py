"""Texts drawn and scored for a case, each once, with the same seeds: the hands of the peers' loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from agent.budget import Spent, Usage
from agent.shots import control_activations, draw_shots, every, score_shots
from evals.answer import Answer, Step
from evals.drawable import prompts_of
from evals.subject import Case
from evals.suggester import Scored, folded
from sae.metrics import auroc
from tools.digest import digest
from tools.protocols import Floats

NOTHING_SCORED = "nothing_scored"
"""Code of an answer without a name: no text could be scored."""


class Attempt(NamedTuple):
    """One text, drawn and scored."""

    text: str
    images: tuple[str | None, ...]
    """By seed; None where the generator failed. Empty where it refused."""
    activations: tuple[float | None, ...]
    charged: int
    """Images asked for."""
    fault: str | None = None
    """Why nothing was drawn: a word that the generator does not know."""

    @property
    def usable(self) -> Floats:
        """(n,) activations of the images that exist."""
        return np.array([each for each in self.activations if each is not None], dtype=np.float32)


Rewarding = Callable[[Attempt], float | None]
"""The score of an attempt with at least one usable image; None where it has none."""


def drawn_as(text: str, case: Case) -> str:
    """The image prompt of a text: as the lexicon composes it where that says the same, else as it stands."""
    lexicon = case.subject.lexicon
    prompts = prompts_of(text, lexicon, card=case.toolbox.draw.card)
    same = len(prompts) == 1 and set(lexicon.read(prompts[0])) == set(lexicon.read(text))
    return prompts[0] if same else text


def attempts(case: Case, texts: Sequence[str], *, seeds: Sequence[int]) -> list[Attempt]:
    """Draw and score texts, in one call where every word is known. Nothing is banked."""
    prompts = [drawn_as(text, case) for text in texts]
    template = case.toolbox.draw.card.search_template
    drawn = draw_shots(case.toolbox, every(prompts, seeds), template=template)
    shots = score_shots(case.toolbox, drawn, index=case.feature.index)
    found: list[Attempt] = []
    for text, prompt in zip(texts, prompts, strict=True):
        mine = [shot for shot in shots if shot.prompt == prompt]
        paid = [shot for shot in mine if shot.charged]
        found.append(
            Attempt(
                text=text,
                images=tuple(shot.image for shot in paid),
                activations=tuple(shot.activation for shot in paid),
                charged=len(paid),
                fault=next((shot.fault for shot in mine if not shot.charged), None),
            )
        )
    return found


def random_of(case: Case, *purpose: str) -> np.random.Generator:
    """Random numbers of one feature and purpose: the same in every run of a suite."""
    return np.random.default_rng(int(digest(seed=case.seed, feature=str(case.feature), purpose=purpose), 16))


class Tries:
    """All that a loop has tried: each text is drawn once, charged, scored and written down."""

    def __init__(self, case: Case, rewarding: Rewarding, *, seeds: Sequence[int]) -> None:
        self._case, self._rewarding, self._seeds = case, rewarding, tuple(seeds)
        self._started = case.toolbox.clock()
        # Texts by the prompt that they are drawn as.
        self._tried: dict[str, str] = {}
        self._best: tuple[Scored, Attempt] | None = None
        self.steps: list[Step] = []
        self.scored: list[Scored] = []
        self.charged = 0
        self.usage = Usage()

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text tried, refused ones included."""
        return tuple(self._tried.values())

    def draw(self, texts: Iterable[str], *, note: str) -> list[Scored]:
        """Try the texts whose prompt was not tried before; those of them that could be scored."""
        new: dict[str, str] = {}
        for text in texts:
            prompt = folded(drawn_as(text, self._case))
            if prompt not in self._tried:
                new.setdefault(prompt, text)
        self._tried |= new
        found = [
            self._noted(attempt, note=note)
            for attempt in attempts(self._case, list(new.values()), seeds=self._seeds)
        ]
        return [scored for scored in found if scored is not None]

    def fail(self, note: str, text: str = "") -> None:
        """Write down a step in which nothing was drawn."""
        self.steps.append(Step(text=text, score=None, charged=self.charged, best=self._name, note=note))

    def answer(self) -> Answer:
        """The best text as the name."""
        seconds = max(0.0, self._case.toolbox.clock() - self._started)
        cost = Spent(usage=self.usage, seconds=seconds).cost()
        told = Answer(name=None, images=self.charged, cost=cost, steps=tuple(self.steps))
        if self._best is None:
            return told.model_copy(update={"code": NOTHING_SCORED})
        scored, attempt = self._best
        control = control_activations(self._case.toolbox, self._case.feature.index)
        search = auroc(attempt.usable, control)
        return told.model_copy(update={"name": scored.text, "score": scored.score, "search_score": search})

    @property
    def _name(self) -> str | None:
        return self._best[0].text if self._best else None

    def _noted(self, attempt: Attempt, *, note: str) -> Scored | None:
        self.charged += attempt.charged
        score = self._rewarding(attempt) if len(attempt.usable) else None
        scored = None if score is None else Scored(attempt.text, score)
        if scored is not None:
            self.scored.append(scored)
            if self._best is None or scored.score > self._best[0].score:
                self._best = (scored, attempt)
        self.steps.append(
            Step(
                text=attempt.text,
                score=score,
                images=attempt.images,
                activations=attempt.activations,
                charged=self.charged,
                best=self._name,
                note=note if attempt.fault is None else f"{note}: {attempt.fault}",
            )
        )
        return scored
