"""The explanation of a finished run, made from its state alone."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.budget import Budget
from agent.proposer import Proposer
from agent.records import Evidence, Explanation
from agent.reward import reward
from agent.state import Judgement, NamingState, RaceRecord
from agent.verdict import Figures, decide

FIRED = 0.5
"""Reward from which a drawn image of the search counts as having fired."""


def search_activations(state: NamingState) -> list[float]:
    """The activations of all usable images of search and race."""
    tried = [each for trial in state.get("trials", ()) for each in trial.activations]
    raced = [shot.activation for shot in state.get("raced", RaceRecord()).shots]
    return [each for each in (*tried, *raced) if each is not None]


def fired_images(state: NamingState) -> int:
    """How many of them fired."""
    p99 = state["facts"].p99
    return sum(reward(each, p99) >= FIRED for each in search_activations(state))


def figures_of(state: NamingState) -> Figures:
    """What the verdict depends on."""
    facts, judgement = state["facts"], state.get("judgement", Judgement())
    winner = state.get("raced", RaceRecord()).winner
    return Figures(
        density=facts.density,
        threshold=facts.threshold,
        tag_lift=facts.tags[0][1] if facts.tags else 0.0,
        charged=state["spent"].search,
        fired=fired_images(state),
        joined=winner.kind if winner else "one",
        sealed=judgement.sealed,
        parts=judgement.parts,
        floor=judgement.floor,
        asked=len(judgement.shots),
    )


def explain(state: NamingState, *, proposer: Proposer, now: float) -> Explanation:
    """The explanation; ``now``: seconds since the epoch."""
    decision = decide(figures_of(state))
    race, judgement, spent = (
        state.get("raced", RaceRecord()),
        state.get("judgement", Judgement()),
        state["spent"],
    )
    shown = race.winner if race.winner and decision.verdict in ("named", "polysemantic", "weak") else None
    return Explanation(
        feature=state["feature"],
        name=shown.name if shown else None,
        parts=shown.parts if shown else (),
        verdict=decision.verdict,
        code=_code(state, paid=proposer.paid) if decision.verdict == "failed" else None,
        confidence=decision.confidence,
        search_score=race.score,
        sealed=judgement.sealed,
        rivals=race.rivals,
        evidence=_evidence(state, race, judgement=judgement),
        images=spent.images(state.get("drawn", 0)),
        cost=spent.cost(),
        proposer=proposer.name,
        run=state["run"],
        created=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
    )


def _code(state: NamingState, *, paid: bool) -> str:
    """Why a run that drew nothing failed: the limit that stopped it, else that no plan could be granted."""
    settings = state["settings"]
    stop = Budget(settings.limits, state["spent"], settings.images_per_prompt).exhausted(paid=paid)
    return "no_plan" if stop is None else f"limit_{stop}"


def _evidence(state: NamingState, race: RaceRecord, *, judgement: Judgement) -> Evidence:
    usable = [shot for shot in judgement.shots if shot.image is not None and shot.activation is not None]
    sealed = judgement.sealed
    gap = race.score - sealed.auroc if sealed is not None and race.score is not None else None
    return Evidence(
        facts=state["facts"],
        exemplars=state.get("exemplars", ()),
        trials=state.get("trials", ()),
        race_images=tuple(shot.image for shot in race.shots if shot.image is not None),
        sealed_images=tuple(shot.image for shot in usable if shot.image is not None),
        sealed_activations=tuple(shot.activation for shot in usable if shot.activation is not None),
        floor_auroc=judgement.floor,
        optimism_gap=gap,
    )
