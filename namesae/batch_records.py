"""What a batch of namings is asked for, what it told of each feature, and what came of it all."""

from __future__ import annotations

from statistics import fmean, median
from typing import NamedTuple

from pydantic import Field

from agent.budget import BatchLimits, Limits
from agent.collisions import Collision
from agent.records import Explanation, VerdictKind
from agent.survey import SurveyOutcome
from sae.feature import Frozen

PUT_FORWARD: tuple[VerdictKind, ...] = ("named", "polysemantic")


class BatchAsk(Frozen):
    """What the person asked for, limits of the batch excepted: enough to ask for it again."""

    selection: str
    survey: int | None = None
    """Images of the survey; 0 is none, None about one a feature."""
    proposer: str | None = None
    max_images: int | None = None
    cost_limit: float | None = None
    seed: int | None = None
    generator: str | None = None
    images: str | None = None
    yes: bool = False


class BatchRow(Frozen):
    """What became of one feature."""

    index: int
    run: str
    name: str | None
    verdict: VerdictKind
    search: int
    """Images charged to its search; 0 for an answer that is older than the batch."""
    sealed: int
    usd: float | None
    seconds: float

    @property
    def put_forward(self) -> bool:
        """Whether there is a name that met the bar."""
        return self.verdict in PUT_FORWARD

    @classmethod
    def of(cls, told: Explanation, *, older: bool) -> BatchRow:
        """``older``: whether the answer was there before the batch asked."""
        return cls(
            index=told.feature.index,
            run=told.run,
            name=told.name,
            verdict=told.verdict,
            search=0 if older else told.images.search,
            sealed=0 if older else told.images.sealed,
            usd=0.0 if older else told.cost.usd,
            seconds=0.0 if older else told.cost.seconds,
        )


class BatchLaunch(Frozen):
    """What is about to be done."""

    version: str
    pid: int
    batch: str
    selection: str
    features: int
    done: int
    """Of them, those that earlier calls named."""
    proposer: str
    paid: bool
    limits: Limits
    """Of each feature."""
    batch_limits: BatchLimits
    seed: int
    home: str


class BatchProgress(NamedTuple):
    """How far it is."""

    done: int
    total: int
    named: int
    abstained: int
    images: float | None
    """Search images a feature so far, the survey's included."""
    seconds_left: float | None


class Spread(Frozen):
    """A figure over the features of a batch."""

    total: float
    mean: float
    median: float

    @classmethod
    def of(cls, figures: list[float]) -> Spread | None:
        """None where there is no figure."""
        return cls(total=sum(figures), mean=fmean(figures), median=median(figures)) if figures else None


class Failure(Frozen):
    """A feature without a verdict."""

    feature: str
    why: str


class BatchSummary(Frozen):
    """What came of it."""

    success: bool
    exit_code: int
    batch: str = ""
    error: str | None = None
    asked: int = 0
    done: int = 0
    verdicts: dict[str, int] = Field(default_factory=dict)
    """How many features got each verdict."""
    failures: tuple[Failure, ...] = ()
    unasked: int = 0
    """Features that a limit of the batch left without a run."""
    waiting: int = 0
    """Names that wait for a review."""
    survey: SurveyOutcome | None = None
    survey_share: float | None = None
    """Of all search images charged, the survey's part."""
    search: Spread | None = None
    """Search images charged a feature, its share of the survey included."""
    sealed: Spread | None = None
    usd: Spread | None = None
    """None where the price of any is unknown."""
    collisions: tuple[Collision, ...] = ()
    """Names that met the bar and were given to several features."""
    seconds: float = 0.0
    """Of this call."""
