"""How learning rate, sparsity weight and k move over the steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from sae.trainer.recipe import Optimiser, Recipe


class Plan(NamedTuple):
    """How long a training is."""

    steps: int
    epoch_steps: float
    """Steps of one epoch; as many as there are where rows are not counted."""

    @classmethod
    def of(cls, recipe: Recipe, rows: int | None) -> Plan:
        """ValueError when epochs are asked for of a stream whose rows nobody counted."""
        if recipe.steps is not None:
            return cls(recipe.steps, rows / recipe.batch_size if rows else recipe.steps)
        if rows is None:
            raise ValueError(f"epochs {recipe.epochs} of a stream without an end; give steps instead.")
        assert recipe.epochs is not None
        epoch = rows / recipe.batch_size
        return cls(max(1, math.ceil(recipe.epochs * epoch)), epoch)

    def epoch(self, step: int) -> int:
        """The epoch, from 0, that a step (from 0) begins in."""
        return int(step / self.epoch_steps)

    def span(self, amount: float) -> float:
        """Steps of a share of all (up to 1) or of their number, at least 1."""
        return max(1.0, amount * self.steps if amount <= 1 else amount)


def learning_rate(step: int, how: Optimiser, *, plan: Plan, n_features: int) -> float:
    """The rate of a step counted from 0."""
    peak = how.lr or 2e-4 * math.sqrt(2**14 / n_features)
    rising = (step + 1) / plan.span(how.warm_up)
    return peak * min(1.0, rising, _SCHEDULES[how.schedule](step, how, plan))


def ramp(step: int, amount: float, *, plan: Plan) -> float:
    """From 0 to 1 over a span; 1 at once where it is 0."""
    return min(1.0, step / plan.span(amount)) if amount else 1.0


def annealed_k(step: int, recipe: Recipe, *, plan: Plan) -> int | None:
    """k of a step counted from 0."""
    if recipe.k is None or recipe.k_start is None:
        return recipe.k
    return round(recipe.k_start + (recipe.k - recipe.k_start) * ramp(step, recipe.k_anneal, plan=plan))


def _cosine(step: int, how: Optimiser, plan: Plan) -> float:
    before = plan.span(how.warm_up) if how.warm_up else 0.0
    through = min(1.0, max(0.0, (step - before) / max(1.0, plan.steps - before)))
    return how.floor + (1 - how.floor) * (1 + math.cos(math.pi * through)) / 2


_SCHEDULES: dict[str, Callable[[int, Optimiser, Plan], float]] = {
    "constant": lambda step, how, plan: 1.0,
    "linear": lambda step, how, plan: (plan.steps - step) / plan.span(how.decay),
    "cosine": _cosine,
    "exponential": lambda step, how, plan: how.gamma ** plan.epoch(step),
    "steps": lambda step, how, plan: how.gamma ** (step // how.every),
}
