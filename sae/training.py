"""Train a TopK or BatchTopK dictionary on activations that lie in memory.

The loss is the batch's fraction of variance unexplained plus AuxK: dead features reconstruct what the living
ones leave over (TopK and AuxK arXiv 2406.04093, BatchTopK arXiv 2412.06410). Decoder directions keep unit
norm: the gradient's part along them is removed before each step, the rest of the drift after it. One recipe
of ``sae.trainer`` with a name of its own, for code that has all its activations at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from sae.card import Normalisation
from sae.dictionary import SparseDictionary
from sae.feature import Frozen
from sae.trainer import schedule
from sae.trainer.coder import initial_directions
from sae.trainer.measure import geometric_median, measure
from sae.trainer.member import Member, Start
from sae.trainer.recipe import Dead, Input, Optimiser, Recipe

__all__ = [
    "Progress",
    "TrainingConfig",
    "geometric_median",
    "initial_directions",
    "learning_rate",
    "normalisation",
    "train_dictionary",
]


class TrainingConfig(Frozen):
    """How a dictionary is trained."""

    n_features: int = Field(gt=0)
    k: int = Field(gt=0)
    """Target L0: activations kept per row (topk), or per row on average over the batch (batchtopk)."""
    architecture: Literal["topk", "batchtopk"] = "topk"
    steps: int = Field(default=4000, gt=0)
    batch_size: int = Field(default=1024, gt=0)
    lr: float | None = Field(default=None, gt=0)
    """Peak learning rate of Adam; None: 2e-4 * sqrt(2^14 / n_features)."""
    warm_up: float = Field(default=0.05, ge=0, le=1)
    """Share of the steps over which the learning rate rises from 0."""
    decay: float = Field(default=0.3, ge=0, le=1)
    """Share of the steps, the last, over which it falls to 0."""
    normalise: Normalisation = Normalisation()
    auxk: float = Field(default=1 / 32, ge=0)
    """Weight of the dead features' loss."""
    dead_after: int = Field(default=100_000, gt=0)
    """A feature is dead when this many rows went by without its activation."""
    log_every: int = Field(default=100, gt=0)

    @property
    def recipe(self) -> Recipe:
        """The same as a recipe."""
        return Recipe(
            n_features=self.n_features,
            k=self.k,
            architecture=self.architecture,
            steps=self.steps,
            batch_size=self.batch_size,
            input=Input(mean=self.normalise.mean, scale=self.normalise.scale),
            dead=Dead(after=self.dead_after, weight=self.auxk),
            optimiser=Optimiser(lr=self.lr, warm_up=self.warm_up, decay=self.decay),
        )


class Progress(NamedTuple):
    """What one logged step says; ``fvu`` and ``l0`` are of its batch alone."""

    step: int
    steps: int
    fvu: float
    l0: float
    dead: int
    """Features without an activation in the last ``dead_after`` rows."""


def _silent(progress: Progress) -> None:
    """Log nothing."""


def train_dictionary(
    activations: Tensor, config: TrainingConfig, *, seed: int = 0, log: Callable[[Progress], None] = _silent
) -> SparseDictionary:
    """Train on (n, d) activations, on the device and in the order that they, the config and the seed fix.

    A batchtopk dictionary gets the threshold at which its mean L0 on these activations is k.
    """
    if activations.ndim != 2 or len(activations) < 2:
        raise ValueError(f"Activations have shape {tuple(activations.shape)}; give (n, d) with n > 1.")
    recipe = config.recipe
    recipe.features(activations.shape[1])
    member = Member(Start(recipe, schedule.Plan.of(recipe, len(activations)), seed), activations)
    for step, rows in enumerate(_batches(len(activations), config, member.generator)):
        seen = member.step(activations[rows], at=step)
        if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
            log(Progress(step + 1, config.steps, fvu=float(seen.fvu), l0=float(seen.l0), dead=int(seen.dead)))
    return member.dictionary(activations)


def normalisation(activations: Tensor, how: Normalisation) -> tuple[Tensor, Tensor]:
    """Centre (d,) and scale () of (n, d) activations."""
    found = measure(activations, Input(mean=how.mean, scale=how.scale))
    return found.mean, found.scale


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, constant, linear decay to 0."""
    recipe = config.recipe
    plan = schedule.Plan.of(recipe, None)
    return schedule.learning_rate(step, recipe.optimiser, plan=plan, n_features=config.n_features)


def _batches(n: int, config: TrainingConfig, generator: torch.Generator) -> Iterator[Tensor]:
    """Row indices per step, always full: a batch runs over the end of a shuffle into the next."""
    left = torch.empty(0, dtype=torch.int64)
    for _ in range(config.steps):
        while len(left) < config.batch_size:
            left = torch.cat([left, torch.randperm(n, generator=generator)])
        yield left[: config.batch_size]
        left = left[config.batch_size :]
