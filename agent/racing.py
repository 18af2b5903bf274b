"""The node that races names, and what follows from it: a judgement, or more search."""

from __future__ import annotations

from collections.abc import Sequence

from agent.bookkeeping import budget_of, charged, tell, trial_of
from agent.events import Raced
from agent.neighbours import neighbour_firing
from agent.race import RaceRules, Track, run_race
from agent.recording import fired_images
from agent.records import Proposal, Trial
from agent.request import RunSettings
from agent.reward import Scale
from agent.rivals import race_record
from agent.shots import Wanted, control_activations, draw_shots, score_shots
from agent.state import NamingState, RaceRecord, Shot
from agent.toolbox import Toolbox

SELF_CHECK = 0.6
"""Balanced accuracy of the winner's own predictions in its race below which the search goes on."""
RACES = 3
"""Races of a run at most, the last one's winner is judged whatever it predicted."""
RACE_SEEDS = 512
"""Common seeds set aside for one race; no two features, and no two races of one, share any."""
STIRRED = 0.6
"""Race AUROC from which a winner is judged although none of its images fired."""


def race(state: NamingState, toolbox: Toolbox) -> NamingState:
    """Race the names on fresh seeds."""
    index, settings = state["feature"].index, state["settings"]
    if "race" in settings.without:
        return {"raced": RaceRecord(winner=state["candidates"][0])}
    template = toolbox.draw.card.search_template

    def arena(wanted: Sequence[Wanted]) -> list[Shot]:
        return score_shots(
            toolbox, draw_shots(toolbox, wanted, template=template), index=index, bank=template
        )

    images, races = budget_of(state).left(race=True), state.get("races", 0)
    first = RACE_SEEDS * (RACES * index + races)
    track = Track(arena, images, Scale.of(state["facts"]), settings.seed, first, rules_of(settings))
    outcome = run_race(state["candidates"], track)
    control = control_activations(toolbox, index)
    kept = race_record(outcome, control, toolbox=toolbox, threshold=state["facts"].threshold)
    if "self-check" in settings.without:
        kept = kept.model_copy(update={"check": None})
    near = neighbour_firing(kept, toolbox, index=index, facts=state["facts"])
    kept = kept.model_copy(update={"neighbours": near})
    spent = charged(state, outcome.shots)
    winner = kept.winner.name if kept.winner else None
    told = Raced(rivals=kept.rivals, winner=winner, decided=kept.decided, search=spent.search)
    tell(state, toolbox, node="race", what=told)
    after: NamingState = {"raced": kept, "spent": spent, "races": races + 1}
    if not _must_search_on({**state, **after}, toolbox):
        return after
    # What the race showed is evidence for the search that follows.
    return {
        **after,
        "raced": kept.model_copy(update={"failed": True}),
        "trials": (*state.get("trials", ()), *_race_trials(outcome.shots)),
    }


def rules_of(settings: RunSettings) -> RaceRules:
    """The rules of a run's races."""
    return RaceRules(drops="halving" not in settings.without)


def after_race(state: NamingState) -> str:
    """A name on which nothing ever fired is not worth sealed images."""
    stirred = fired_images(state) > 0 or (state["raced"].score or 0.0) >= STIRRED
    if state["raced"].failed:
        return "propose"
    told = stirred or "race" in state["settings"].without
    return "judge" if state["raced"].winner is not None and told else "record"


def _must_search_on(state: NamingState, toolbox: Toolbox) -> bool:
    """Whether the winner failed its own predictions while there is a budget to find a better one."""
    if "self-check" in state["settings"].without:
        return False
    check = state["raced"].check
    if check is None or check >= SELF_CHECK or state["races"] >= RACES:
        return False
    return budget_of(state).exhausted(paid=toolbox.proposer.paid) is None


def _race_trials(shots: Sequence[Shot]) -> tuple[Trial, ...]:
    prompts = dict.fromkeys(shot.prompt for shot in shots)
    why = "drawn in a race that failed its own check"
    told = (Proposal(prompt=each, intent="control", rationale=why) for each in prompts)
    return tuple(trial_of(proposal, shots) for proposal in told)
