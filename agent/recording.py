"""The explanation of a finished run, made from its state alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from agent.bookkeeping import budget_of
from agent.neighbours import own_images
from agent.records import Evidence, Explanation, Review, Sighting, VerdictKind
from agent.reward import Scale, reward
from agent.state import Judgement, NamingState, RaceRecord
from agent.verdict import Decision, Figures, decide

FIRED = 0.5
"""Reward from which a drawn image of the search counts as having fired."""


def search_activations(state: NamingState) -> list[float]:
    """The activations of all usable images of search and race."""
    tried = [each for trial in state.get("trials", ()) for each in trial.activations]
    raced = [shot.activation for shot in state.get("raced", RaceRecord()).shots]
    return [each for each in (*tried, *raced) if each is not None]


def fired_images(state: NamingState) -> int:
    """How many of them fired."""
    scale = Scale.of(state["facts"])
    return sum(reward(each, scale) >= FIRED for each in search_activations(state))


def figures_of(state: NamingState, sightings: tuple[Sighting, ...] = ()) -> Figures:
    """What the verdict depends on."""
    facts, judgement = state["facts"], state.get("judgement", Judgement())
    winner = state.get("raced", RaceRecord()).winner
    return Figures(
        density=facts.density,
        threshold=facts.threshold,
        charged=state["spent"].search,
        joined=winner.kind if winner else "one",
        sealed=judgement.sealed,
        parts=judgement.parts,
        contrast=judgement.contrast,
        floor=judgement.floor,
        asked=len(judgement.shots),
        sightings=sightings,
        check=state.get("raced", RaceRecord()).check,
        reading=winner.told if winner else None,
    )


class Asked(Protocol):
    """Who was asked for ideas, as a record names them."""

    @property
    def name(self) -> str: ...
    @property
    def paid(self) -> bool: ...


def explain(
    state: NamingState, *, proposer: Asked, now: float, sightings: tuple[Sighting, ...] = ()
) -> Explanation:
    """The explanation; ``now``: seconds since the epoch. ``sightings``: of the texts asked for, if any."""
    decision, review = decide(figures_of(state, sightings)), review_of(state)
    rejected = review is not None and review.decision == "rejected"
    if rejected:
        decision = Decision(verdict="unexplained", confidence=0.0)
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
        code="rejected" if rejected else _code(state, decision.verdict, paid=proposer.paid),
        confidence=decision.confidence,
        search_score=race.score,
        sealed=judgement.sealed,
        rivals=race.rivals,
        evidence=_evidence(state, race, judgement=judgement, sightings=sightings),
        images=spent.images(state.get("drawn", 0)),
        cost=spent.cost(),
        proposer=proposer.name,
        run=state["run"],
        created=dated(now),
        review=review,
        forked_from=state.get("forked_from"),
    )


def dated(now: float) -> str:
    """When an explanation was made, ISO 8601; ``now``: seconds since the epoch."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")


def review_of(state: NamingState) -> Review | None:
    """How the name was decided by a person; None while none was asked, or a retest is open."""
    names = state.get("reviewed", ())
    if not names or names[-1].ruling.action == "retest":
        return None
    last, ruling = names[-1], names[-1].ruling
    return Review(
        decision="accepted" if ruling.action == "accept" else "rejected",
        name=last.name,
        verdict=last.verdict,
        who=ruling.who,
        at=ruling.at,
        why=ruling.why,
        retests=len(names) - 1,
        names=names,
    )


def _code(state: NamingState, verdict: VerdictKind, *, paid: bool) -> str | None:
    """Why a run that drew nothing failed: the limit that stopped it, else that no plan could be granted."""
    if verdict != "failed":
        return None
    stop = budget_of(state).exhausted(paid=paid)
    return "no_plan" if stop is None else f"limit_{stop}"


def _evidence(
    state: NamingState, race: RaceRecord, *, judgement: Judgement, sightings: tuple[Sighting, ...]
) -> Evidence:
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
        sightings=sightings,
        check=race.check,
        belief=race.winner.belief if race.winner else None,
        told=race.winner.told if race.winner else None,
        contrast=judgement.contrast,
        part_scores=judgement.parts,
        hypotheses=state.get("hypotheses", ()),
        own_images=own_images(race),
        neighbours=race.neighbours,
    )
