"""How strongly a drawn image speaks for its prompt: a reward that saturates, in units of the p99."""

from __future__ import annotations

import math
from collections.abc import Iterable

CENTRE = 0.35
"""Share of p99 at which a drawn image counts half: below the firing threshold of 1/2, because drawn images
activate less evenly than probe images."""
WIDTH = 0.08
"""Softness of that step, in shares of p99."""


def reward(activation: float, p99: float) -> float:
    """0..1: a logistic step of activation / p99. A stronger activation earns no more once it fires for
    sure."""
    if p99 <= 0:
        return 0.0
    return 1.0 / (1.0 + math.exp(-max(-40.0, min(40.0, (activation / p99 - CENTRE) / WIDTH))))


def rewards(activations: Iterable[float | None], p99: float) -> list[float]:
    """The rewards of the images that exist; an image that could not be drawn earns none, not 0."""
    return [reward(each, p99) for each in activations if each is not None]
