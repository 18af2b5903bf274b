"""What the MCP tools answer: records with a URI wherever there is more to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import Field

from agent.records import VerdictKind
from evals.scoreboard import Figure
from namesae.service.evaluation_records import EvalState
from sae.feature import Frozen
from tools.protocols import Interval

if TYPE_CHECKING:
    from agent.records import Explanation, Trial
    from namesae.service.feature_query import GridRow

SCHEME = "namesae"
EXEMPLARS, JUDGED = 8, 8
"""Pictures of a feature that an answer points to."""


def feature_uri(dictionary: str, index: int) -> str:
    """namesae://feature/DICTIONARY/INDEX: the whole latest explanation."""
    return f"{SCHEME}://feature/{quote(dictionary, safe='')}/{index}"


def run_uri(run: str) -> str:
    """namesae://run/RUN: the whole trace as JSON; with /markdown behind it, as text."""
    return f"{SCHEME}://run/{quote(run, safe='')}"


def image_uri(sha: str) -> str:
    """namesae://image/SHA256: a PNG."""
    return f"{SCHEME}://image/{sha}"


def eval_uri(evaluation: str) -> str:
    """namesae://eval/ID: how it stands, and its leaderboard."""
    return f"{SCHEME}://eval/{quote(evaluation, safe='')}"


class Picture(Frozen):
    """An image and what the feature did on it."""

    uri: str
    activation: float | None


class RivalName(Frozen):
    """A name that lost the race, or won it."""

    name: str
    auroc: float | None


class FeatureAnswer(Frozen):
    """A feature and what is known of it."""

    feature: str = Field(description="DICTIONARY#INDEX")
    uri: str
    answered: bool = Field(description="Whether anybody named it yet; if not, most fields are null.")
    name: str | None = Field(default=None, description="Null also where the verdict is that no name holds.")
    verdict: VerdictKind | None = None
    confidence: float | None = Field(default=None, description="0 to 1, from the sealed figures alone.")
    auroc: float | None = Field(
        default=None, description="Of the sealed judge: images the search never saw against the control set."
    )
    auroc_ci: Interval | None = Field(default=None, description="95 % interval.")
    ceiling: float | None = Field(default=None, description="The AUROC a perfect name could reach.")
    activation_rate: float | None = Field(default=None, description="Share of the judge's images that fire.")
    control_rate: float | None = None
    parts: tuple[str, ...] = Field(default=(), description="Of an AND or OR name.")
    rivals: tuple[RivalName, ...] = ()
    density: float | None = Field(default=None, description="Share of the probe set it is active on.")
    exemplars: tuple[Picture, ...] = Field(default=(), description="Probe images that fire it most.")
    judged: tuple[Picture, ...] = Field(default=(), description="Images drawn for the name, strongest first.")
    search_images: int | None = None
    sealed_images: int | None = None
    usd: float | None = Field(default=None, description="Dollars the LLM cost; null where unknown.")
    proposer: str | None = None
    run: str | None = None
    run_uri: str | None = None
    created: str | None = None
    stored: bool = Field(default=False, description="Whether the answer was found, and not computed now.")

    @classmethod
    def of(cls, told: Explanation) -> FeatureAnswer:
        """An explanation in brief."""
        sealed, evidence = told.sealed, told.evidence
        return cls(
            feature=str(told.feature),
            uri=feature_uri(told.feature.dictionary, told.feature.index),
            answered=True,
            name=told.name,
            verdict=told.verdict,
            confidence=told.confidence,
            auroc=None if sealed is None else sealed.auroc,
            auroc_ci=None if sealed is None else sealed.auroc_ci,
            ceiling=None if sealed is None else sealed.ceiling,
            activation_rate=None if sealed is None else sealed.activation_rate,
            control_rate=None if sealed is None else sealed.control_rate,
            parts=told.parts,
            rivals=tuple(RivalName(name=each.name, auroc=each.auroc) for each in told.rivals),
            density=None if evidence is None else evidence.facts.density,
            exemplars=_exemplars(told),
            judged=_judged(told),
            search_images=told.images.search,
            sealed_images=told.images.sealed,
            usd=told.cost.usd,
            proposer=told.proposer,
            run=told.run,
            run_uri=run_uri(told.run),
            created=told.created,
            stored=told.stored,
        )


def _exemplars(told: Explanation) -> tuple[Picture, ...]:
    shown = () if told.evidence is None else told.evidence.exemplars[:EXEMPLARS]
    return tuple(Picture(uri=image_uri(each.image), activation=each.activation) for each in shown)


def _judged(told: Explanation) -> tuple[Picture, ...]:
    if told.evidence is None:
        return ()
    pairs = zip(told.evidence.sealed_images, told.evidence.sealed_activations, strict=True)
    best = sorted(pairs, key=lambda pair: -pair[1])[:JUDGED]
    return tuple(Picture(uri=image_uri(image), activation=activation) for image, activation in best)


class RunAnswer(Frozen):
    """A naming, finished or not."""

    run: str
    uri: str
    feature: str
    feature_uri: str
    state: str = Field(
        description="queued, running, waiting (for a review), paused, ended, failed, cancelled or stopped"
    )
    answer: FeatureAnswer | None = Field(default=None, description="Null while the run is unfinished.")
    search_images: int = Field(default=0, description="Charged so far.")
    max_images: int = 0
    usd: float | None = None
    error: str | None = None
    next: str = Field(description="What to do now, in a sentence.")


class FoundFeature(Frozen):
    """A feature that was found."""

    feature: str
    uri: str
    score: float = Field(description="Higher is nearer.")
    name: str | None
    verdict: VerdictKind | None
    auroc: float | None
    density: float | None

    @classmethod
    def of(cls, dictionary: str, row: GridRow, *, score: float) -> FoundFeature:
        """A line of a grid."""
        answer = row.answer
        return cls(
            feature=f"{dictionary}#{row.index}",
            uri=feature_uri(dictionary, row.index),
            score=score,
            name=None if answer is None else answer.name,
            verdict=None if answer is None else answer.verdict,
            auroc=None if answer is None else answer.auroc,
            density=row.density,
        )


class FoundFeatures(Frozen):
    """Features, the best first."""

    by: str
    hits: tuple[FoundFeature, ...]


class ActiveFeature(FoundFeature):
    """A feature on one image; the score is its activation in units of its own scale, where that is known."""

    activation: float
    fires: bool | None


class ActiveFeatures(Frozen):
    """The features most active on an image."""

    dictionary: str
    hits: tuple[ActiveFeature, ...]


class TraceLine(Frozen):
    """Something that happened in a run."""

    at: float = Field(description="Seconds since the epoch.")
    node: str
    round: int
    text: str


class TriedPrompt(Frozen):
    """A prompt that was drawn and what the feature did."""

    prompt: str
    intent: str
    mean: float | None = Field(description="Mean activation; null where nothing could be drawn.")
    images: tuple[Picture, ...]
    fault: str | None = None

    @classmethod
    def of(cls, trial: Trial) -> TriedPrompt:
        """A trial in brief."""
        values = [each for each in trial.activations if each is not None]
        pairs = zip(trial.images, trial.activations, strict=True)
        return cls(
            prompt=trial.proposal.prompt,
            intent=trial.proposal.intent,
            mean=sum(values) / len(values) if values else None,
            images=tuple(Picture(uri=image_uri(image), activation=each) for image, each in pairs if image),
            fault=trial.fault,
        )


class TraceAnswer(RunAnswer):
    """How a name was found, or is being found."""

    markdown_uri: str
    lines: tuple[TraceLine, ...] = Field(description="Oldest first.")
    left_out: int = Field(description="Earlier lines that are only in the resource.")
    prompts: tuple[TriedPrompt, ...]
    llm_calls: int


class LeaderRow(Frozen):
    """A condition of an evaluation, over all its features."""

    condition: str
    title: str
    features: int
    accuracy: Figure = Field(description="Share of features with a true concept whose name is right.")
    named_share: Figure
    auroc: Figure
    images: float | None = Field(description="Mean images charged to the search, a feature.")
    usd: float | None = Field(description="Mean dollars a feature.")


class EvalAnswer(Frozen):
    """An evaluation, finished or not."""

    id: str
    uri: str
    suite: str
    state: EvalState
    cells: int = Field(description="Answers so far: one for each condition and feature.")
    expected: int
    leaderboard: tuple[LeaderRow, ...] = Field(default=(), description="Best first, controls last.")
    error: str | None = None
    next: str


class ComparedFeature(Frozen):
    """One feature as two conditions named it."""

    feature: str
    uri: str
    truth: str
    a_name: str | None
    b_name: str | None
    a_value: float | None
    b_value: float | None
    difference: float | None
    a_run_uri: str | None
    b_run_uri: str | None


class ComparedMethods(Frozen):
    """Two conditions of an evaluation, paired by feature."""

    id: str
    uri: str
    a: str
    b: str
    measure: str
    difference: float | None = Field(description="Mean of a less b over the features both have it on.")
    difference_ci: Interval | None = Field(description="95 % interval.")
    p: float | None
    features: int
    better: int
    worse: int
    equal: int
    rows: tuple[ComparedFeature, ...] = Field(description="The largest differences first.")
    left_out: int
