"""Names that people rule on and compare: what waits, where names disagree, what was voted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agent.records import Question, Ruling, VerdictKind
from sae.feature import Exemplar, Frozen
from tools.protocols import Interval

Choice = Literal["a", "b", "tie", "skip"]
"""*a*: the left name. *skip*: the person cannot tell."""


class Asking(Frozen):
    """The name a run asks, or asked, about."""

    question: Question
    ruling: Ruling | None = None
    """What was said of it; None while it waits."""
    ended: bool = False


class ToldName(Frozen):
    """One name that was found for a feature, and by what."""

    name: str
    by: str
    """The proposer of a run, else what an evaluation calls the condition."""
    source: Literal["run", "eval"]
    run: str = ""
    """The run that found it; '' where none did."""
    evaluation: str = ""
    condition: str = ""
    verdict: VerdictKind | None = None
    auroc: float | None = None
    """Sealed."""
    auroc_ci: Interval | None = None
    times: int = 1
    """Answers that give this name."""


class Disagreement(Frozen):
    """A feature that was given different names."""

    feature: str
    index: int
    names: tuple[ToldName, ...]
    """One for each different name, the most often given first."""
    answers: int
    contested: float
    """Probability that two of its answers, drawn at random, give different names."""
    votes: int = 0
    """By people, skips left out."""


class Pair(Frozen):
    """Two names of one feature, shown without what found them."""

    id: str
    """Decides the order: the same id shows the same name on the left."""
    feature: str
    a: str
    """Shown on the left."""
    b: str
    exemplars: tuple[Exemplar, ...]
    """Probe images of the feature, the strongest first."""
    threshold: float | None
    """Activation above which the feature fires."""
    left: int
    """Pairs of the dictionary that this person has not looked at yet, this one included."""


class Vote(Frozen):
    """What one person said of two names of a feature."""

    feature: str
    pair: str
    a: str
    b: str
    choice: Choice
    who: str
    at: str
    """ISO 8601, UTC."""
    a_by: str = ""
    """What found the left name; hidden until the vote is cast."""
    b_by: str = ""
    note: str = Field(default="", max_length=400)

    @property
    def chosen(self) -> str | None:
        """The name that was preferred."""
        return {"a": self.a, "b": self.b}.get(self.choice)


class Tally(Frozen):
    """How often one method's names were preferred to those of others."""

    by: str
    won: int
    lost: int
    tied: int
