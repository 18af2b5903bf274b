"""The agent on a dictionary of random weights: what names score where there is nothing to find."""

from __future__ import annotations

from evals.answer import Answer
from evals.condition import Condition
from evals.plain_condition import PlainCondition
from evals.subject import Case, Subject
from sae.feature import Feature


class Untrained(PlainCondition):
    """The agent, naming the feature of the same index of the untrained twin."""

    images: int | None = None
    sealed: int | None = None
    """The agent's options."""

    @property
    def title(self) -> str:
        """What reports call it."""
        return "untrained dictionary"

    def lacks(self, subject: Subject) -> str | None:
        """A twin, where there is none."""
        return "an untrained twin" if subject.twin is None else None

    def subject(self, subject: Subject) -> Subject:
        """The twin."""
        if subject.twin is None:
            raise ValueError(f"Dictionary {subject.dictionary} has no untrained twin; see lacks().")
        return subject.twin

    def answer(self, case: Case) -> Answer:
        """The agent's answer; ``case.subject`` is the twin."""
        feature = Feature(dictionary=case.subject.dictionary, index=case.feature.index)
        return self.agent().answer(case._replace(feature=feature))

    def agent(self) -> Condition:
        """Who names."""
        from evals.conditions.agent import Agent

        return Agent(images=self.images, sealed=self.sealed)
