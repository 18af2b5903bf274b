"""What a naming run is made of: proposal, trial, explanation. Stored and sent; imports no torch."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from agent.hypothesis import Hypothesis
from sae.feature import Exemplar, Feature, Frozen
from tools.protocols import CosyScore, FeatureFacts, Interval
from tools.witness import Presence

Intent = Literal["exploit", "vary", "contradict", "explore", "control"]
Expectation = Literal["fires", "rests", "either"]
VerdictKind = Literal[
    "named", "polysemantic", "weak", "unexplained", "dead", "dense", "unrenderable", "failed", "cancelled"
]


RulingAction = Literal["accept", "retest", "reject"]


class Proposal(Frozen):
    """An image prompt and why it should be drawn."""

    prompt: str
    intent: Intent
    rationale: str = ""
    claim: str = ""
    """The hypothesis it tests, if one."""
    expects: Expectation = "either"
    """What that hypothesis says of its images."""


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


class NodeCost(Frozen):
    """What one node used of an LLM. Unknown is None, never 0."""

    node: str
    """propose, ask, …"""
    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    usd: float | None
    seconds: float
    """That its calls took."""


class Cost(Frozen):
    """What a run used. Unknown is None, never 0."""

    llm_calls: int = 0
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    usd: float | None = 0.0
    seconds: float = 0.0
    cached_tokens: int | None = None
    """Of the prompt tokens, those that the endpoint had cached."""
    reasoning_tokens: int | None = None
    """Of the completion tokens, those that were not shown."""
    by_node: tuple[NodeCost, ...] = ()


class ImageCount(Frozen):
    """Images a run drew or asked for."""

    search: int = 0
    """Charged to the search: asked for by it, drawn now or found in the ledger."""
    sealed: int = 0
    """The judge's images of the winner, and of the names tested in its place."""
    charged: int = 0
    """All images this run asked for (search, race, judge), the floor's shared ones excluded."""
    drawn: int = 0
    """Distinct images actually drawn by this run."""


class Ruling(Frozen):
    """What a person says of a name under review."""

    action: RulingAction
    who: str
    at: str
    """ISO 8601, UTC."""
    why: str = ""
    name: str | None = None
    """The name to test instead, for a retest."""
    retest: int = 0
    """For a retest, the number of its sealed images among all retests of this feature and seed; from 1."""


class Reviewed(Frozen):
    """A name that was judged, shown to a person, and ruled on."""

    name: str
    verdict: VerdictKind
    """By its figures alone."""
    confidence: float
    sealed: CosyScore | None
    retest: int = 0
    """Which sealed images it was judged on: 0 the run's first, else those of that retest."""
    ruling: Ruling


class Review(Frozen):
    """How a name was accepted or rejected by a person, after how many retests."""

    decision: Literal["accepted", "rejected"]
    name: str
    verdict: VerdictKind
    """What its figures gave it; a rejected name is shown as unexplained all the same."""
    who: str
    at: str
    """ISO 8601, UTC."""
    why: str = ""
    retests: int = 0
    """Names judged after the first, each on sealed images of its own."""
    names: tuple[Reviewed, ...] = ()
    """All names that were ruled on, in order; the last is the one decided."""


class ForkPoint(Frozen):
    """Where a run was forked from."""

    run: str
    step: int
    """Number of the checkpoint, as ``namesae trace`` lists it."""
    node: str = ""
    """The last thing that run had done by then."""


class Sighting(Frozen):
    """How much a text is shown, as a model sees it that is not the explained one (agent/sight.py)."""

    text: str
    """Asked of the generator, in a prompt with others or alone."""
    exemplars: Presence
    """In the feature's strongest probe images, against the control set."""
    drawn: Presence | None = None
    """In the images drawn for it; None where there is none."""
    refused: bool = False
    """Whether the generator does not know it."""


class NeighbourFiring(Frozen):
    """What a near feature does on the winner's own race images, beside what the named one does."""

    index: int
    cosine: float | None
    """Of the two decoder directions; None where they are not known."""
    rate: float
    """Share of the images on which the neighbour fires."""
    own_rate: float
    """And the feature itself."""
    n_images: int


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
    sightings: tuple[Sighting, ...] = ()
    """What a witness saw, where no name was sure: the texts first that the exemplars show most."""
    own_images: tuple[str, ...] = ()
    """Of the race images, those of the winner's own prompts."""
    neighbours: tuple[NeighbourFiring, ...] = ()
    """The nearest features of the dictionary on these, nearest first."""
    check: float | None = None
    """Self-check of the race: balanced accuracy of what the winner predicted, firing and resting."""
    belief: float | None = None
    """How likely its proposer thought the winner, where that is a posterior weight."""
    told: float | None = None
    """F1 with which the winner tells the probe set, as an image-text model read that."""
    contrast: CosyScore | None = None
    """Of a NOT: its sealed images against sealed images of what it excludes."""
    part_scores: tuple[CosyScore, ...] = ()
    """Of an OR: the sealed scores of its parts, each on its own images."""
    hypotheses: tuple[Hypothesis, ...] = ()
    """What the proposer held of the feature at the end, refuted claims among it."""


class Explanation(Frozen):
    """The accepted, scored answer for one feature."""

    feature: Feature
    name: str | None
    parts: tuple[str, ...] = ()
    """The parts of an AND name (named) or of an OR name (polysemantic)."""
    verdict: VerdictKind
    code: str | None = None
    """Why, for failed and cancelled; 'rejected' for a name a person rejected."""
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
    review: Review | None = None
    """What a person decided, where the run was to be reviewed."""
    forked_from: ForkPoint | None = None
    """The run and step this one started from, where it did not start anew."""

    def is_older(self, at: float) -> bool:
        """Whether it was found, and recorded before ``at``, seconds since the epoch."""
        return self.stored and datetime.fromisoformat(self.created).timestamp() < at


class Question(Frozen):
    """A name that waits to be ruled on, with all that a person needs."""

    run: str
    turn: int
    """Names ruled on before it in this run."""
    name: str
    verdict: VerdictKind
    """What accepting it would give it."""
    retests_left: int
    since: str
    """ISO 8601, UTC."""
    explanation: Explanation
    """What would be recorded if it were accepted now."""
    names: tuple[Reviewed, ...] = ()
    """Names ruled on before it, in order."""
