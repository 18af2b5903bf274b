"""What every node needs beside its own work: the budget as it stands, what is charged, and telling."""

from __future__ import annotations

from collections.abc import Sequence

from agent.budget import REPEATS, Budget, Spent
from agent.events import Event, Happening
from agent.records import Proposal, Trial
from agent.state import NamingState, Shot
from agent.toolbox import Toolbox


def budget_of(state: NamingState) -> Budget:
    """The run's budget as it stands."""
    settings = state["settings"]
    limits, repeats = settings.limits, 1 if "halving" in settings.without else REPEATS
    if "race" in settings.without:
        limits = limits.model_copy(update={"race_images": 0})
    return Budget(limits, state["spent"], settings.per_prompt, repeats)


def charged(state: NamingState, shots: Sequence[Shot]) -> Spent:
    """What was spent once these shots of the search are charged."""
    spent = state["spent"]
    return spent.model_copy(update={"search": spent.search + sum(shot.charged for shot in shots)})


def trial_of(proposal: Proposal, shots: Sequence[Shot]) -> Trial:
    """The test of a proposal, from the shots of its prompt among others."""
    mine = [shot for shot in shots if shot.prompt == proposal.prompt]
    drawn = [shot for shot in mine if shot.charged]
    return Trial(
        proposal=proposal,
        images=tuple(shot.image for shot in drawn),
        seeds=tuple(shot.seed for shot in drawn),
        activations=tuple(shot.activation for shot in drawn),
        fault=next((shot.fault for shot in mine if not shot.charged), None),
    )


def tell(state: NamingState, toolbox: Toolbox, *, node: str, what: Happening) -> None:
    """Say what happened, with the run's round."""
    spent = state.get("spent", Spent())
    toolbox.emit(Event(run=state["run"], at=toolbox.clock(), node=node, round=spent.rounds, what=what))
