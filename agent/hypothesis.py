"""A claim about a feature and where it stands, as it is recorded. Imports no more than the feature."""

from __future__ import annotations

from typing import Literal

from sae.feature import Frozen

HypothesisState = Literal["open", "supported", "refuted"]

Rung = Literal["", "best", "broader", "narrower", "rival"]


class Tally(Frozen):
    """Images of which something was predicted, and how much of their reward they earned."""

    images: int = 0
    earned: float = 0.0

    @property
    def rate(self) -> float | None:
        """Mean reward, 0..1; None without images."""
        return self.earned / self.images if self.images else None


class Hypothesis(Frozen):
    """A claim about a feature, and where it stands."""

    claim: str
    state: HypothesisState = "open"
    rung: Rung = ""
    """Where it stands to the best one on the ladder of generality, where that is known."""
    weight: float | None = None
    """Posterior weight, where the proposer works with any."""
    fires: Tally = Tally()
    """Images on which it says the feature fires."""
    rests: Tally = Tally()
    """Images on which it says the feature rests."""
    held: HypothesisState | None = None
    """Where its author takes it to stand, if not where the measurements put it."""
