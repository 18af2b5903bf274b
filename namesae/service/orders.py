"""What the service can be asked to do: each order becomes a job that a worker carries out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agent.records import RulingAction
from namesae.forking import ForkOrder
from sae.feature import Frozen

ProposerChoice = Literal["openai", "lexical"]
FeatureName = Annotated[str, Field(min_length=3, max_length=200, pattern=r"^[^#]+#[0-9]{1,7}$")]
SafeId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._#=+-]*$")]


class NameOrder(Frozen):
    """Name a feature: the stored answer to an equal request, else a run."""

    kind: Literal["name"] = "name"
    feature: FeatureName = Field(examples=["sandbox#17"])
    proposer: ProposerChoice | None = None
    """None is openai where a key is set, else lexical."""
    max_images: int = Field(default=100, ge=8, le=100_000)
    """Search images it may use; the judge's are beside them."""
    cost_limit: float = Field(default=0.10, ge=0, le=1000, allow_inf_nan=False)
    """Dollars the LLM may cost."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    again: bool = False
    """A new run although there is a stored answer."""
    review: bool = False
    """Whether a person rules on the name before it is accepted."""


class ForkJob(Frozen):
    """Start a run from a step of another."""

    kind: Literal["fork"] = "fork"
    fork: ForkOrder


class RuleOrder(Frozen):
    """A person's ruling on the name of a waiting run."""

    kind: Literal["rule"] = "rule"
    run: SafeId
    action: RulingAction
    why: str = Field(default="", max_length=2000)
    name: str | None = Field(default=None, max_length=80)
    """The name to test instead, for a retest."""


class BatchOrder(Frozen):
    """Survey, then name many features of a dictionary."""

    kind: Literal["batch"] = "batch"
    selection: str = Field(min_length=3, max_length=500, examples=["sandbox#0-99", "sandbox#truth>=0.8"])
    survey: int | None = Field(default=None, ge=0, le=1_000_000)
    proposer: ProposerChoice | None = None
    max_images: int = Field(default=100, ge=8, le=100_000)
    """A feature."""
    cost_limit: float = Field(default=0.10, ge=0, le=1000, allow_inf_nan=False)
    """Dollars a feature."""
    total_images: int | None = Field(default=None, ge=1)
    """Search images of the whole batch, its survey included."""
    total_cost: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Dollars of the whole batch."""
    seed: int = Field(default=0, ge=0, lt=2**31)


class EvalOrder(Frozen):
    """Run a built-in suite; its results lie in a folder of the data directory that bears the id."""

    kind: Literal["eval"] = "eval"
    suite: SafeId = Field(examples=["sandbox-quick"])
    conditions: tuple[SafeId, ...] = Field(default=(), max_length=30)
    """Of the suite's; none means all."""
    proposer: ProposerChoice | None = None
    id: SafeId | None = None
    """What to call it; None is the suite's name. The same id continues what was interrupted."""


Order = Annotated[NameOrder | ForkJob | RuleOrder | BatchOrder | EvalOrder, Field(discriminator="kind")]
