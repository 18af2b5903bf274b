"""What a naming run is made of: proposal, trial, explanation. Stored and sent; imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sae.feature import Exemplar, Feature, Frozen
from tools.protocols import CosyScore, FeatureFacts, Interval

Intent = Literal["exploit", "vary", "contradict", "explore", "control"]
VerdictKind = Literal[
    "named", "polysemantic", "weak", "unexplained", "dead", "dense", "unrenderable", "failed", "cancelled"
]


class Proposal(Frozen):
    """An image prompt and why it should be drawn."""

    prompt: str
    intent: Intent
    rationale: str = ""


class Trial(Frozen):
    """One test of a proposal. A failure is None, never 0."""

    proposal: Proposal
    images: tuple[str | None, ...]
    """sha256 by seed, None where the generator failed."""
    seeds: tuple[int, ...]
    activations: tuple[float | None, ...]
    """Activation of the feature by image; None where there is no image."""
    fault: str | None = None
    """Why nothing was drawn, e.g. a word the generator does not know."""


class Rival(Frozen):
    """A name that raced and what the race measured."""

    name: str
    auroc: float | None
    auroc_ci: Interval | None
    rate: float | None
    n_images: int


class Cost(Frozen):
    """What a run used. Unknown is None, never 0."""

    llm_calls: int = 0
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    usd: float | None = 0.0
    seconds: float = 0.0


class ImageCount(Frozen):
    """Images a run drew or asked for."""

    search: int = 0
    """Charged to the search: asked for by it, drawn now or found in the ledger."""
    sealed: int = 0
    """The judge's images of the winner."""
    charged: int = 0
    """All images this run asked for (search, race, judge), the floor's shared ones excluded."""
    drawn: int = 0
    """Distinct images actually drawn by this run."""


class Evidence(Frozen):
    """What the run knew and did, enough to check the name by hand."""

    facts: FeatureFacts
    exemplars: tuple[Exemplar, ...] = ()
    trials: tuple[Trial, ...] = ()
    race_images: tuple[str, ...] = ()
    """Usable images of the race, in order."""
    sealed_images: tuple[str, ...] = ()
    sealed_activations: tuple[float, ...] = ()
    floor_auroc: float | None = None
    """Random-name floor: mean sealed AUROC of other names on this feature."""
    optimism_gap: float | None = None
    """Winner's AUROC on its race images minus its sealed AUROC, same control."""


class Explanation(Frozen):
    """The accepted, scored answer for one feature."""

    feature: Feature
    name: str | None
    parts: tuple[str, ...] = ()
    """The parts of an AND name (named) or of an OR name (polysemantic)."""
    verdict: VerdictKind
    code: str | None = None
    """Why, for failed and cancelled."""
    confidence: float = Field(ge=0.0, le=1.0)
    search_score: float | None = None
    """AUROC of the winner on its race images."""
    sealed: CosyScore | None = None
    rivals: tuple[Rival, ...] = ()
    evidence: Evidence | None = None
    images: ImageCount = ImageCount()
    cost: Cost = Cost()
    proposer: str = "lexical"
    run: str = ""
    """Run id; ``namesae trace RUN`` shows it."""
    created: str = ""
    """ISO 8601, UTC."""
    stored: bool = False
    """True when the answer was found, not computed now."""
