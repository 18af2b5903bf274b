"""How strongly drawn images speak for a prompt: a soft step, fired or not, and a graded score.

Both are in units of the feature: its p99 and, where the probe set was read, the cut at which words tell it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from sae.feature import Frozen
from tools.protocols import FeatureFacts

CENTRE = 0.35
"""Share of p99 at which a drawn image counts half: below the firing threshold of 1/2, because drawn images
activate less evenly than probe images."""
CENTRES = (0.10, 0.60)
"""Least and greatest such share where the probe set was read."""
TOLD = 0.5
"""F1 from which the best reading's cut is used."""
WIDTH = 8 / 35
"""Softness of the step, as a share of its centre."""


class Scale(Frozen):
    """What one feature's activations are measured in."""

    p99: float
    centre: float = CENTRE
    """Share of p99 at which an image counts half."""

    @classmethod
    def of(cls, facts: FeatureFacts) -> Scale:
        """The scale of a feature: one that words tell best at a low cut counts as firing at a low one."""
        best = facts.readings[0] if facts.readings else None
        if best is None or best.f1 < TOLD or facts.p99 <= 0:
            return cls(p99=facts.p99)
        low, high = CENTRES
        return cls(p99=facts.p99, centre=min(high, max(low, best.cut / facts.p99)))


def reward(activation: float, scale: Scale) -> float:
    """0..1: a logistic step. A stronger activation earns no more once it fires for sure."""
    if scale.p99 <= 0:
        return 0.0
    step = (activation / scale.p99 - scale.centre) / (WIDTH * scale.centre)
    return 1.0 / (1.0 + math.exp(-max(-40.0, min(40.0, step))))


def rewards(activations: Iterable[float | None], scale: Scale) -> list[float]:
    """The rewards of the images that exist; an image that could not be drawn earns none, not 0."""
    return [reward(each, scale) for each in activations if each is not None]


def graded(activations: Iterable[float | None], scale: Scale) -> float | None:
    """Mean activation in units of the p99, plus the share of images that fired; None without an image.

    It does not saturate: of two prompts that always fire, the one that fires more strongly scores higher.
    """
    usable = [each for each in activations if each is not None]
    if not usable or scale.p99 <= 0:
        return None
    fired = sum(reward(each, scale) >= 0.5 for each in usable)
    return (sum(usable) / scale.p99 + fired) / len(usable)
