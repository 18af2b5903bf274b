"""The proposer's first guess, before anything is drawn: what the search adds is measured against it."""

from __future__ import annotations

from dataclasses import replace

from agent.budget import Spent
from agent.events import ignore
from agent.observing import observe
from agent.plans import ConcludePlan
from agent.proposer import View
from agent.request import RunSettings
from agent.state import NamingState
from evals.answer import Answer, Step
from evals.plain_condition import PlainCondition
from evals.subject import Case

NO_NAME = "no_name"
"""Code of an answer without a name: the proposer had none."""


class OneProposal(PlainCondition):
    """The proposer sees facts and exemplars, as a run of the agent does, and must conclude at once."""

    @property
    def title(self) -> str:
        """It has no options."""
        return "One proposal"

    def answer(self, case: Case) -> Answer:
        """The first of the names it concludes with. Nothing is drawn."""
        started = case.toolbox.clock()
        turn = case.subject.proposer.plan(view_of(case))
        seconds = max(0.0, case.toolbox.clock() - started)
        names = [each.name for each in turn.plan.candidates] if isinstance(turn.plan, ConcludePlan) else []
        best = names[0] if names else None
        return Answer(
            name=best,
            code=None if names else NO_NAME,
            cost=Spent(usage=turn.usage, seconds=seconds).cost(),
            steps=tuple(Step(text=name, score=None, best=best, note="proposed") for name in names),
        )


def view_of(case: Case) -> View:
    """What the agent's proposer sees of a feature in its first round, but that no image may be drawn."""
    # A run's listeners must not hear of a run that is none.
    silent = replace(case.toolbox, emit=ignore)
    seen = observe(NamingState(run="", feature=case.feature, settings=RunSettings(seed=case.seed)), silent)
    return View(
        feature=case.feature,
        facts=seen["facts"],
        exemplars=seen["exemplars"],
        card=silent.draw.card,
        seed=case.seed,
        images_left=0,
        race_left=0,
        must_conclude=True,
    )
