"""The seam between the harness and whatever names features: a case in, an answer out."""

from __future__ import annotations

from typing import Any, Protocol

from evals.answer import Answer
from evals.subject import Case, Subject


class Condition(Protocol):
    """A way of naming features. To add one: a module with this protocol, a line in evals/conditions.

    Conditions are frozen pydantic models whose fields are their options, so that a suite can set them.
    """

    @property
    def title(self) -> str:
        """What reports call it, deviations included: 'MILS (5 x 20)'."""
        ...

    def model_dump(self, *, mode: str = "python", exclude: set[str] | None = None) -> dict[str, Any]:
        """Its options, as pydantic writes them."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Conditions whose answers it reads."""
        ...

    def lacks(self, subject: Subject) -> str | None:
        """What a dictionary lacks for it to run, in a few words; None where nothing."""
        ...

    def subject(self, subject: Subject) -> Subject:
        """The dictionary it really names, the same unless it is a control."""
        ...

    def answer(self, case: Case) -> Answer:
        """Name a feature. A failure is an Answer without a name, with a code."""
        ...
