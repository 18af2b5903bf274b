"""What the API takes and gives beside the records of the service: pages, choices, rulings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent.events import Event
from agent.records import Explanation, Intent, Question, RulingAction
from namesae.batch_records import BatchRow
from namesae.service.batches import BatchStatus
from namesae.service.evaluation_records import EvalStatus
from namesae.service.feature_query import DictionaryRow, FeatureActivation, GridRow, Hit
from namesae.service.job_records import JobState, RunStatus
from namesae.service.orders import FeatureName, ProposerChoice
from namesae.service.review_records import Choice, Disagreement, Pair, Tally, Vote
from namesae.service.tokens import Scope, TokenName, TokenRow
from sae.feature import Frozen
from tools.protocols import FeatureFacts

Prompt = Annotated[str, Field(min_length=1, max_length=200)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class DictionaryList(Frozen):
    """Every dictionary."""

    dictionaries: tuple[DictionaryRow, ...]


class FeatureDetail(Frozen):
    """A feature with all that is known of it."""

    row: GridRow
    facts: FeatureFacts | None
    """From the probe set and the weights; None before anything was worked out."""
    explanation: Explanation | None
    """The latest answer that did not fail; None where there is none."""


class ExplanationList(Frozen):
    """Answers about one feature, latest first."""

    explanations: tuple[Explanation, ...]


class HitList(Frozen):
    """Features found, best first."""

    hits: tuple[Hit, ...]


class ActivationList(Frozen):
    """What features do on an image, the most active first."""

    activations: tuple[FeatureActivation, ...]


class RunPage(Frozen):
    """Runs, latest first."""

    runs: tuple[RunStatus, ...]
    next: float | None
    """Cursor of the page after this one; None at the end."""


class EventEntry(Frozen):
    """An event and its place in the run."""

    id: str
    event: Event


class EventPage(Frozen):
    """Events of a run, oldest first."""

    events: tuple[EventEntry, ...]
    next: str | None
    """Id to ask for those after; None where there are none yet."""


class NewPrompt(Frozen):
    """A prompt to draw next."""

    prompt: Prompt
    intent: Intent = "explore"
    rationale: str = Field(default="", max_length=400)


class ForkRequest(Frozen):
    """Start a run from a step of this one; what is null stays as it was."""

    step: int = Field(ge=0, le=10_000, examples=[3])
    seed: Seed | None = None
    images: int | None = Field(default=None, ge=8, le=100_000)
    usd: float | None = Field(default=None, ge=0, le=1000, allow_inf_nan=False)
    proposer: ProposerChoice | None = None
    review: bool | None = None
    add: tuple[NewPrompt, ...] = Field(default=(), max_length=20)
    drop: tuple[Prompt, ...] = Field(default=(), max_length=20)
    again: bool = False


class RulingRequest(Frozen):
    """What a person says of the name that waits."""

    action: RulingAction = Field(examples=["accept"])
    why: str = Field(default="", max_length=2000)
    name: str | None = Field(default=None, min_length=1, max_length=80)
    """The name to test instead, for a retest."""


class BatchList(Frozen):
    """Batches, latest first."""

    batches: tuple[BatchStatus, ...]


class BatchRowPage(Frozen):
    """Features of a batch that have a verdict, by index."""

    rows: tuple[BatchRow, ...]
    next: int | None
    """Cursor of the page after this one; None at the end of what there is."""


class EvalList(Frozen):
    """Evaluations, latest first."""

    evals: tuple[EvalStatus, ...]
    suites: tuple[str, ...]
    """Those that can be started."""


class EvalAccepted(Frozen):
    """An evaluation that a worker will carry out."""

    id: str
    state: JobState


class QuestionList(Frozen):
    """Names that wait for a ruling, the oldest first."""

    questions: tuple[Question, ...]


class DisagreementList(Frozen):
    """Features with different names, the most contested first."""

    disagreements: tuple[Disagreement, ...]


class NextPair(Frozen):
    """Two names to compare; null where none is left."""

    pair: Pair | None


class VoteRequest(Frozen):
    """Which of two names fits a feature better."""

    feature: FeatureName = Field(examples=["sandbox#17"])
    left: str = Field(min_length=1, max_length=200, examples=["striped"])
    right: str = Field(min_length=1, max_length=200, examples=["zebra"])
    choice: Choice = Field(examples=["a"])
    note: str = Field(default="", max_length=400)


class VoteList(Frozen):
    """Votes that count, and what they come to."""

    votes: tuple[Vote, ...]
    tallies: tuple[Tally, ...]


class TokenRequest(Frozen):
    """A token to be made."""

    name: TokenName = Field(examples=["notebook"])
    scope: Scope = "read"
    days: float | None = Field(default=None, gt=0, le=3650, allow_inf_nan=False)
    """How long it lasts; null until it is revoked."""


class NewToken(Frozen):
    """A token and its secret, which is shown this once."""

    token: TokenRow
    secret: str


class TokenList(Frozen):
    """All tokens, without their secrets."""

    tokens: tuple[TokenRow, ...]


class WhoAmI(Frozen):
    """Who asks."""

    name: str
    scope: Scope


class Health(Frozen):
    """Whether the process is alive, or ready for requests."""

    status: str
    version: str
