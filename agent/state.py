"""What a run remembers between nodes. Every type is concrete, so a checkpoint can rebuild it strictly."""

from __future__ import annotations

from typing import TypedDict

from agent.budget import Refusal, Spent
from agent.hypotheses import Hypothesis
from agent.plans import Candidate, ConcludePlan, ContradictPlan, DrawPlan, PairPlan, ShowPlan
from agent.proposer import Hint
from agent.records import Explanation, ForkPoint, NeighbourFiring, Proposal, Reviewed, Rival, Trial
from agent.request import RunSettings
from sae.feature import Exemplar, Feature, Frozen
from tools.protocols import CosyScore, FeatureFacts

SCHEMA = 1


class Shot(Frozen):
    """One image of a prompt: drawn, and after scoring with its activation."""

    prompt: str
    """As proposed, before the generator's template."""
    seed: int
    image: str | None
    """None where nothing usable was drawn."""
    fault: str | None = None
    charged: bool = True
    """Whether the generator was asked for it; a prompt it refuses costs nothing."""
    activation: float | None = None


class RaceRecord(Frozen):
    """What the race measured."""

    shots: tuple[Shot, ...] = ()
    rivals: tuple[Rival, ...] = ()
    """Best first."""
    winner: Candidate | None = None
    decided: bool = False
    """Whether the interval decided, and not the proposer's order."""
    score: float | None = None
    """AUROC of the winner's own race images against the control set."""
    check: float | None = None
    """Balanced accuracy of what the winner predicted of the race's images, firing and resting."""
    failed: bool = False
    """Whether it failed that self-check, and the search goes on."""
    neighbours: tuple[NeighbourFiring, ...] = ()
    """What the nearest features do on the winner's own images."""


class Judgement(Frozen):
    """What the sealed judge measured of the winner."""

    shots: tuple[Shot, ...] = ()
    sealed: CosyScore | None = None
    parts: tuple[CosyScore, ...] = ()
    contrast: CosyScore | None = None
    """Of a NOT: its images against images of what it excludes, in the place of the control set."""
    floor: float | None = None
    floor_names: tuple[str, ...] = ()


class NamingState(TypedDict, total=False):
    """The graph's state: what nodes return replaces what was there."""

    schema: int
    run: str
    feature: Feature
    settings: RunSettings
    facts: FeatureFacts
    exemplars: tuple[Exemplar, ...]
    hints: tuple[Hint, ...]
    hypotheses: tuple[Hypothesis, ...]
    """As the proposer last held them."""
    plan: DrawPlan | ShowPlan | PairPlan | ContradictPlan | ConcludePlan
    granted: tuple[Proposal, ...]
    refused: tuple[Refusal, ...]
    shots: tuple[Shot, ...]
    """Drawn, not yet scored."""
    trials: tuple[Trial, ...]
    spent: Spent
    drawn: int
    candidates: tuple[Candidate, ...]
    raced: RaceRecord
    """The latest race."""
    races: int
    judgement: Judgement
    explanation: Explanation
    reviewed: tuple[Reviewed, ...]
    """Names a person ruled on, in order."""
    forked_from: ForkPoint
