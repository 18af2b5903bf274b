"""Activations in superposition whose features are known: rare, positive, of unequal frequency, in noise."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class World(NamedTuple):
    """What rows are drawn from."""

    directions: Tensor
    """(G, d) unit rows, the true features."""
    chances: Tensor
    """(G,) how likely each is to be one of a row's."""
    centre: Tensor
    """(d,) what every row has in common."""


def world(width: int, n_true: int, *, seed: int) -> World:
    """True features whose frequencies fall as 1 / sqrt(rank)."""
    chance = torch.Generator().manual_seed(seed)
    directions = F.normalize(torch.randn(n_true, width, generator=chance), dim=1)
    centre = torch.randn(width, generator=chance) / width**0.5
    return World(directions, torch.arange(1, n_true + 1).double().pow(-0.5), centre)


def rows_of(world: World, count: int, *, active: int, seed: int, noise: float = 0.1) -> Tensor:
    """(count, d) rows of mean squared norm d about their mean, each of ``active`` true features and noise."""
    chance = torch.Generator().manual_seed(seed)
    width = world.directions.shape[1]
    which = torch.multinomial(world.chances, count * active, replacement=True, generator=chance)
    weights = torch.rand(count * active, generator=chance) + 0.5
    starts = torch.arange(0, count * active, active)
    x = F.embedding_bag(which, world.directions, starts, mode="sum", per_sample_weights=weights)
    x += noise * (active / width) ** 0.5 * torch.randn(count, width, generator=chance)
    x = x + world.centre
    centred: Tensor = x - x.mean(0)
    return x * (width / centred.square().sum(1).mean()).sqrt()
