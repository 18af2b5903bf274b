"""namesae's own agent, from an empty bank, with the suite's budget."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from agent.budget import Limits
from agent.plans import ConcludePlan
from agent.proposer import Proposer, View
from agent.records import Explanation, Trial
from agent.request import Ablation, Request, RunSettings
from evals.answer import Answer, Step
from evals.plain_condition import PlainCondition
from evals.subject import Case
from tools.digest import digest


class Agent(PlainCondition):
    """The agent. Answers of an equal request made before are taken from the store."""

    images: int | None = None
    """Search budget; None is the suite's."""
    sealed: int | None = None
    """Images of its own judge, on which its verdict rests; None is as many as the suite's judge has."""

    without: tuple[Ablation, ...] = ()
    """Parts of the agent it goes without (agent/request.py)."""

    @property
    def title(self) -> str:
        """What reports call it."""
        told = "namesae" if not self.without else f"namesae without {' and '.join(self.without)}"
        return told if self.images is None else f"{told} ({self.images} images)"

    def answer(self, case: Case) -> Answer:
        """Run the agent, and tell what it would have said after every round."""
        from agent.runs import OutOfBudget, name_feature

        request = self._request(case)
        try:
            told = name_feature(request, lambda run: case.toolbox, desk=case.subject.desk)
        except OutOfBudget as error:
            told = error.explanation
        return _answer(told, case, settings=request.settings)

    def _request(self, case: Case) -> Request:
        proposer = case.subject.proposer
        # An answer found with a bank and with another floor is another answer.
        models = digest(models=case.subject.fingerprint, bank="empty", floor="fixed", race="kept")
        limits = Limits.of(self.images or case.images, usd=case.usd, sealed=self.sealed or case.sealed)
        return Request(
            feature=case.feature,
            models=models,
            proposer=proposer.name,
            proposer_fingerprint=proposer.fingerprint,
            settings=RunSettings(seed=case.seed, limits=limits, without=self.without),
        )


def _answer(told: Explanation, case: Case, *, settings: RunSettings) -> Answer:
    abstains = told.verdict not in ("named", "polysemantic", "weak")
    return Answer(
        name=None if abstains else told.name,
        verdict=told.verdict,
        code=told.code,
        confidence=told.confidence,
        score=told.confidence,
        search_score=told.search_score,
        images=told.images.search,
        verdict_images=told.images.sealed,
        asked=_asked(told),
        cost=told.cost,
        steps=_steps(told, case, settings=settings),
        run=told.run,
    )


def _asked(told: Explanation) -> tuple[str, ...]:
    if told.evidence is None:
        return ()
    searched = [image for trial in told.evidence.trials for image in trial.images if image is not None]
    return tuple(dict.fromkeys([*searched, *told.evidence.race_images]))


def _steps(told: Explanation, case: Case, *, settings: RunSettings) -> tuple[Step, ...]:
    """Every prompt drawn, and after every round the name it would then have concluded with."""
    trials = told.evidence.trials if told.evidence is not None else ()
    steps: list[Step] = []
    asked, known = 0, 0
    for _, group in groupby(trials, key=lambda trial: trial.seeds):
        drawn = list(group)
        known += len(drawn)
        steps += [_step(trial) for trial in drawn]
        asked += sum(len(trial.seeds) for trial in drawn)
        best = _concluded(told, case, trials=trials[:known], settings=settings)
        steps[-1] = steps[-1].model_copy(update={"charged": asked, "best": best})
    return _filled(steps)


def _step(trial: Trial) -> Step:
    usable = [each for each in trial.activations if each is not None]
    return Step(
        text=trial.proposal.prompt,
        score=sum(usable) / len(usable) if usable else None,
        images=trial.images,
        activations=trial.activations,
        note=trial.fault or trial.proposal.intent,
    )


def _filled(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Steps within a round are charged by their own images; the name changes when the round is over."""
    filled: list[Step] = []
    charged, best = 0, None
    for step in steps:
        charged += len(step.images)
        best = step.best if step.best is not None else best
        filled.append(step.model_copy(update={"charged": charged, "best": best}))
    return tuple(filled)


def _concluded(
    told: Explanation, case: Case, *, trials: Sequence[Trial], settings: RunSettings
) -> str | None:
    """What the proposer would conclude with from these trials; None where asking it costs money."""
    proposer: Proposer = case.subject.proposer
    if proposer.paid or told.evidence is None:
        return None
    view = View(
        feature=told.feature,
        facts=told.evidence.facts,
        exemplars=told.evidence.exemplars,
        trials=tuple(trials),
        card=case.toolbox.draw.card,
        seed=settings.seed,
        images_per_prompt=settings.per_prompt,
        images_left=0,
        race_left=settings.limits.race_images,
        must_conclude=True,
        without=settings.without,
    )
    plan = proposer.plan(view).plan
    named = isinstance(plan, ConcludePlan) and plan.candidates
    return plan.candidates[0].name if named and isinstance(plan, ConcludePlan) else None
