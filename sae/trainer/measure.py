"""What is measured of activations before a training, and how they are normalised by it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sae.layer_norm import Statistics
from sae.trainer.recipe import Input


class Measured(NamedTuple):
    """Of a sample of the activations, on their device."""

    mean: Tensor
    """(d,)"""
    scale: Tensor
    """()"""
    limit: Tensor
    """() norm above which a row is left out; infinite where none is."""


class Prepared(NamedTuple):
    """A batch as the coder sees it."""

    u: Tensor
    """(b, d) what is encoded."""
    target: Tensor
    """(b, d) what is decoded, in the coder's own space."""
    x: Tensor
    """(b, d) the activations themselves."""
    statistics: Statistics | None
    """Of each row, where reconstructions are brought back by them."""


def measure(rows: Tensor, how: Input) -> Measured:
    """Centre, scale and limit of (n, d) rows. ValueError when they are not finite or all equal."""
    if not bool(rows.isfinite().all()):
        raise ValueError("Some activations are not finite; extract them again in float32.")
    x, norm = rows.float(), how.layer_norm
    limit = _limit(x, how)
    x = x if how.drop_norm_above is None else _within(x, limit)
    if norm is not None and not norm.after_scale:
        x = norm.apply(x, norm.statistics(x))
    mean = CENTRES[how.mean](x)
    return Measured(mean, _scale(x, mean, how), limit)


def prepare(x: Tensor, how: Input, *, by: Measured) -> Prepared:
    """Centre and scale (b, d) activations, rows beyond the limit left out."""
    x = x.float() if how.drop_norm_above is None else _within(x.float(), by.limit)
    scaled, norm = (x - by.mean) * by.scale, how.layer_norm
    if norm is None:
        return Prepared(scaled, scaled, x, None)
    statistics = norm.statistics(scaled if norm.after_scale else x)
    if norm.after_scale:
        u = norm.apply(scaled, statistics)
    else:
        u = (norm.apply(x, statistics) - by.mean) * by.scale
    return Prepared(u, u, x, statistics) if norm.inverted else Prepared(u, scaled, x, None)


def restore(decoded: Tensor, batch: Prepared, *, how: Input, by: Measured) -> Tensor:
    """(b, d) reconstructions in the coder's space to those of x."""
    norm, statistics = how.layer_norm, batch.statistics
    if norm is None or statistics is None:
        return decoded / by.scale + by.mean
    if norm.after_scale:
        return norm.undo(decoded, statistics) / by.scale + by.mean
    return norm.undo(decoded / by.scale + by.mean, statistics)


def geometric_median(rows: Tensor, *, rounds: int = 100, tolerance: float = 1e-5) -> Tensor:
    """The (d,) point of least summed distance to (n, d) rows, by Weiszfeld's iteration.

    On at most 100,000 of them, evenly spaced.
    """
    rows = rows[:: max(1, len(rows) // 50_000)]
    centre = rows.mean(0)
    for _ in range(rounds):
        weights = 1 / (rows - centre).norm(dim=1).clamp(min=1e-8)
        moved: Tensor = (weights[:, None] * rows).sum(0) / weights.sum()
        if bool((moved - centre).norm() <= tolerance * centre.norm().clamp(min=1e-8)):
            return moved
        centre = moved
    return centre


CENTRES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda rows: rows.mean(0),
    "geometric-median": geometric_median,
    "none": lambda rows: torch.zeros_like(rows[0]),
    "zeros": lambda rows: torch.zeros_like(rows[0]),
}
"""(n, d) rows to (d,)."""


def _within(x: Tensor, limit: Tensor) -> Tensor:
    return x[x.norm(dim=1) <= limit]


def _limit(x: Tensor, how: Input) -> Tensor:
    if how.drop_norm_above is None:
        return x.new_tensor(math.inf)
    limit: Tensor = how.drop_norm_above * x.norm(dim=1).median()
    return limit


def _scale(x: Tensor, mean: Tensor, how: Input) -> Tensor:
    if how.scale == "none":
        return x.new_ones(())
    squared = float(x.var(0, correction=0).sum() + (x.mean(0) - mean).square().sum())
    if squared == 0:
        raise ValueError("All activations are equal; check the images and the hook point.")
    if how.scale == "mean-norm":
        return x.new_tensor(math.sqrt(x.shape[1]) / float((x - mean).norm(dim=1).mean()))
    return x.new_tensor(_SCALES[how.scale](x.shape[1], squared))


_SCALES: dict[str, Callable[[int, float], float]] = {
    "sqrt-width": lambda width, squared: math.sqrt(width / squared),
    "unit-rms": lambda width, squared: 1 / math.sqrt(squared),
    "squared-norm": lambda width, squared: math.sqrt(width) / squared,
}
"""Width and mean squared norm to a scale."""
