"""What most conditions have in common: they need nothing and name the dictionary they are given."""

from __future__ import annotations

from evals.subject import Subject
from sae.feature import Frozen


class PlainCondition(Frozen):
    """Base of the conditions that read no other's answers and need nothing of a dictionary."""

    @property
    def needs(self) -> tuple[str, ...]:
        """None."""
        return ()

    def lacks(self, subject: Subject) -> str | None:
        """Nothing."""
        return None

    def subject(self, subject: Subject) -> Subject:
        """The one given."""
        return subject
