"""Typed plans: all that a proposer can ask the graph to do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agent.records import Proposal
from sae.feature import Frozen

MAX_NAME = 80
MAX_PROMPT = 200
MAX_CANDIDATES = 6

CandidateKind = Literal["one", "and", "or", "not"]


class Candidate(Frozen):
    """A name that can be raced: how to draw it, and what it predicts of other prompts."""

    name: str = Field(min_length=1, max_length=MAX_NAME)
    kind: CandidateKind = "one"
    parts: tuple[str, ...] = ()
    """The parts of an AND or OR name."""
    prompts: tuple[str, ...] = Field(min_length=1)
    """Image prompts that show it; several where each shows one alternative (OR, NOT)."""
    against: tuple[str, ...] = ()
    """For a NOT: image prompts that show what it excludes; the judge holds them against its own."""
    fires: tuple[str, ...] = ()
    """Fresh prompts on which the feature fires if the name is right."""
    rests: tuple[str, ...] = ()
    """Fresh prompts on which it does not."""
    level: int = 0
    """0 is the most general; a greater level says more."""
    belief: float | None = Field(default=None, ge=0.0, le=1.0)
    """How likely its proposer thinks it, where that is more than a feeling: a posterior weight."""
    told: float | None = Field(default=None, ge=0.0, le=1.0)
    """F1 with which it tells the probe set, as it was read; None where it was not."""


class DrawPlan(Frozen):
    """Draw and score these prompts."""

    kind: Literal["draw"] = "draw"
    proposals: tuple[Proposal, ...]


class ShowPlan(Frozen):
    """Show exemplars of a quantile band of the feature's non-zero probe activations."""

    kind: Literal["show"] = "show"
    low: float = Field(ge=0.0, le=1.0)
    high: float = Field(ge=0.0, le=1.0)
    count: int = Field(default=6, ge=1, le=16)


class PairPlan(Frozen):
    """Test a pair: two prompts that differ in one thing, drawn with the same seeds."""

    kind: Literal["test"] = "test"
    first: Proposal
    second: Proposal


class ContradictPlan(Frozen):
    """Try to refute a claim: prompts on which the feature must not fire if it holds."""

    kind: Literal["contradict"] = "contradict"
    claim: str
    proposals: tuple[Proposal, ...]


class ConcludePlan(Frozen):
    """Stop searching: race these names, best first; a ladder of generality by ``level``."""

    kind: Literal["conclude"] = "conclude"
    candidates: tuple[Candidate, ...] = ()
    reason: str = ""


Plan = DrawPlan | ShowPlan | PairPlan | ContradictPlan | ConcludePlan


def proposals_of(plan: Plan) -> tuple[Proposal, ...]:
    """The prompts that a plan wants drawn; none for show and conclude."""
    if isinstance(plan, PairPlan):
        return (plan.first, plan.second)
    if isinstance(plan, DrawPlan | ContradictPlan):
        return plan.proposals
    return ()
