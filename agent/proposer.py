"""The seam between the graph and whoever has the ideas: a view of the run in, a typed plan out."""

from __future__ import annotations

from typing import Protocol

from agent.budget import Refusal, Usage
from agent.hypotheses import Hypothesis
from agent.plans import Plan
from agent.records import Trial
from agent.request import Ablation
from sae.feature import Exemplar, Feature, Frozen
from tools.protocols import FeatureFacts, GeneratorCard


class Hint(Frozen):
    """What the bank knows: a prompt of an earlier run whose images fired this feature."""

    prompt: str
    activation: float
    """Mean over its images."""
    images: int
    fired: tuple[float, ...] = ()
    """Activations of those on which the feature is on at all, highest first."""

    def on_images(self) -> tuple[float, ...]:
        """The activation on every image of the prompt."""
        return (*self.fired, *[0.0] * (self.images - len(self.fired)))


class View(Frozen):
    """All that a proposer may know. No sealed image, no label, no other run's name is in it."""

    feature: Feature
    facts: FeatureFacts
    exemplars: tuple[Exemplar, ...] = ()
    hints: tuple[Hint, ...] = ()
    trials: tuple[Trial, ...] = ()
    refused: tuple[Refusal, ...] = ()
    """Prompts and plans that were refused, and why."""
    card: GeneratorCard
    round: int = 0
    seed: int = 0
    images_per_prompt: int = 2
    images_left: int
    """Images the search may still draw."""
    race_left: int
    """Images the race will have."""
    must_conclude: bool = False
    """Only a ConcludePlan will be heard."""
    without: tuple[Ablation, ...] = ()
    """Parts of the agent that the run goes without."""


class LlmCall(Frozen):
    """One exchange with an LLM, for the trace. Images stand as 'image:<sha256>', never as data."""

    model: str
    mode: str
    """json_schema, json_object or prompt."""
    messages: tuple[tuple[str, str], ...]
    """(role, text), as sent."""
    reply: str
    usage: Usage
    seconds: float
    fault: str | None = None
    """Why the reply could not be used."""
    recorded: bool = False
    """True when the reply came from the ledger."""
    blind: bool = False
    """True where the endpoint refuses pictures: these messages had some, and went without."""


class Turn(Frozen):
    """What a proposer answers."""

    plan: Plan
    usage: Usage = Usage()
    calls: tuple[LlmCall, ...] = ()
    hypotheses: tuple[Hypothesis, ...] = ()
    """What it holds of the feature now, the best first."""


class Proposer(Protocol):
    """Who has the ideas. ``plan`` depends on the view alone, so that a repeated node repeats its answer."""

    @property
    def name(self) -> str:
        """Kind and model, as shown with the result: 'lexical', 'openai:gpt-5-mini'."""
        ...

    @property
    def fingerprint(self) -> str: ...
    @property
    def paid(self) -> bool:
        """Whether asking costs money; the limits of calls, tokens and dollars then apply."""
        ...

    @property
    def priced(self) -> bool:
        """Whether it is known what asking costs."""
        ...

    def plan(self, view: View) -> Turn:
        """The next plan. DependencyError when it cannot answer; never another proposer's answer instead."""
        ...
