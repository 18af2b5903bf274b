"""namesae's own agent, naming all features of a dictionary as one batch: a survey, then a bank they share."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import PrivateAttr

from agent.budget import Limits
from agent.order import naming_order
from agent.records import Explanation, Trial
from agent.request import Ablation, Request, RunSettings
from agent.shots import draw_shots
from agent.survey import VERSION, carry_out, plan_survey, share_of_survey, wanted_of
from agent.survey_log import Schedule, SurveyLog
from agent.toolbox import Bank, Toolbox
from agent.wishes import is_searched
from evals.answer import Answer, Step
from evals.cost_curves import SURVEY
from evals.memo import Meter
from evals.plain_condition import PlainCondition
from evals.subject import Case
from sae.feature import Feature
from tools.digest import digest
from tools.errors import NamesaeError


class AgentBatch(PlainCondition):
    """The agent, each feature after what it learned about the others. The bank is this evaluation's own."""

    images: int | None = None
    """Search budget of a feature; None is the suite's."""
    sealed: int | None = None
    """Images of its own judge; None is as many as the suite's judge has."""
    survey: int | None = None
    """Images of the survey; None is one a feature, 0 none."""
    without: tuple[Ablation, ...] = ()
    """Parts of the agent it goes without (agent/request.py)."""
    _batches: dict[str, _Batch] = PrivateAttr(default_factory=dict)

    @property
    def title(self) -> str:
        """What reports call it."""
        lacks = "".join(f", no {each}" for each in self.without)
        return "namesae, as a batch" + (", no survey" if self.survey == 0 else "") + lacks

    def answer(self, case: Case) -> Answer:
        """The answer of this feature, once all that the batch names before it are named.

        Charged to it: its own search, and its share of the survey.
        """
        batch = self._batches.get(case.subject.dictionary)
        if batch is None:
            batch = self._batches[case.subject.dictionary] = _Batch(self, case)
        return batch.answer(case)


class _Batch:
    """One dictionary's, from whichever cell is asked for first."""

    def __init__(self, condition: AgentBatch, case: Case) -> None:
        self._limits = Limits.of(
            condition.images or case.images, usd=case.usd, sealed=condition.sealed or case.sealed
        )
        self._wanted, self._without = condition.survey, condition.without
        self._id = "evals-" + self._digest(case)[:16]
        self._bank = self._opened(case)
        self._log = SurveyLog(case.subject.desk.store.client, self._id)
        self._schedule = self._surveyed(case)
        self._charged = sum(self._log.charged().values())
        self._surveys = self._survey_images(case)
        self._told: dict[int, Explanation | Exception] = {}

    def answer(self, case: Case) -> Answer:
        """Names in the batch's own order until the feature has its answer; the rest is kept."""
        for index in self._schedule.order:
            if index not in self._told:
                self._told[index] = self._named(index, case)
            if index == case.feature.index:
                break
        told = self._told[case.feature.index]
        if isinstance(told, Exception):
            raise told
        return self._answer(told)

    def _digest(self, case: Case) -> str:
        """Of everything that determines the batch: the same suite goes on with the same bank."""
        return digest(
            batch=VERSION,
            models=case.subject.fingerprint,
            proposer=case.subject.proposer.fingerprint,
            features=[each.index for each in case.features],
            limits=self._limits.model_dump(mode="json"),
            survey=self._wanted,
            seed=case.seed,
            **({"without": list(self._without)} if self._without else {}),
        )

    def _opened(self, case: Case) -> Bank:
        from tools import bank

        return bank.Bank(
            case.subject.desk.store.client,
            score=case.toolbox.score.fingerprint,
            generator=digest(batch=self._id, generator=case.toolbox.draw.fingerprint),
            # Nothing is compacted, so all of it stays in Redis and the folder is never made.
            folder=Path(tempfile.gettempdir()) / self._id,
            compact_from=None,
        )

    def _tools(self, case: Case) -> Toolbox:
        """Every cell tells what was asked for it: what this one happens to draw for others is not charged."""
        draw = case.toolbox.draw
        return replace(
            case.toolbox, bank=self._bank, draw=draw.unmetered if isinstance(draw, Meter) else draw
        )

    def _survey_images(self, case: Case) -> list[str]:
        tools = self._tools(case)
        wanted = wanted_of(self._schedule.plan.prompts, seed=case.seed)
        shots = draw_shots(tools, wanted, template=tools.draw.card.search_template)
        return [shot.image for shot in shots if shot.image is not None]

    def _surveyed(self, case: Case) -> Schedule:
        schedule = self._log.schedule() or self._log.keep(self._planned(case))
        if not self._log.done:
            carry_out(schedule.plan, self._tools(case), seed=case.seed, log=self._log)
            self._log.finish()
        return schedule

    def _planned(self, case: Case) -> Schedule:
        card, lexicon = case.toolbox.draw.card, case.subject.lexicon
        facts = {each.index: case.toolbox.exemplars.facts(each.index) for each in case.features}
        images = sum(map(is_searched, facts.values())) if self._wanted is None else self._wanted
        plan = plan_survey(facts, lexicon, card=card, images=images)
        return Schedule(plan=plan, order=naming_order(facts, lexicon, card=card))

    def _named(self, index: int, case: Case) -> Explanation | Exception:
        from agent.runs import OutOfBudget, name_feature

        proposer = case.subject.proposer
        request = Request(
            feature=Feature(dictionary=case.subject.dictionary, index=index),
            models=digest(models=case.subject.fingerprint, batch=self._id, floor="fixed", race="kept"),
            proposer=proposer.name,
            proposer_fingerprint=proposer.fingerprint,
            settings=RunSettings(seed=case.seed, limits=self._limits, without=self._without),
        )
        try:
            return name_feature(request, lambda run: self._tools(case), desk=case.subject.desk)
        except OutOfBudget as error:
            return error.explanation
        except Exception as error:
            if isinstance(error, NamesaeError) or index == case.feature.index:
                raise
            # It is raised when this feature's own cell is asked for.
            return error

    def _answer(self, told: Explanation) -> Answer:
        order = self._schedule.order
        place = order.index(told.feature.index)
        shares = [share_of_survey(self._charged, at, features=len(order)) for at in range(place + 1)]
        share, before = shares[-1], sum(shares[:-1])
        evidence = told.evidence
        trials = () if evidence is None else evidence.trials
        searched = [image for trial in trials for image in trial.images if image is not None]
        raced = () if evidence is None else evidence.race_images
        abstains = told.verdict not in ("named", "polysemantic", "weak")
        return Answer(
            name=None if abstains else told.name,
            verdict=told.verdict,
            code=told.code,
            confidence=told.confidence,
            score=told.confidence,
            search_score=told.search_score,
            images=told.images.search + share,
            verdict_images=told.images.sealed,
            asked=tuple(dict.fromkeys([*self._surveys[before : before + share], *searched, *raced])),
            cost=told.cost,
            steps=_steps(trials, share=share, place=place),
            run=told.run,
            named_before=place,
        )


def _steps(trials: Sequence[Trial], *, share: int, place: int) -> tuple[Step, ...]:
    """The survey, then every prompt of its own search."""
    steps = [Step(text=SURVEY, score=None, charged=share, note=f"{place} named before it")]
    for trial in trials:
        usable = [each for each in trial.activations if each is not None]
        steps.append(
            Step(
                text=trial.proposal.prompt,
                score=sum(usable) / len(usable) if usable else None,
                images=trial.images,
                activations=trial.activations,
                charged=steps[-1].charged + len(trial.images),
                note=trial.fault or trial.proposal.intent,
            )
        )
    return tuple(steps)
