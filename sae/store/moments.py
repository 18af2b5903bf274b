"""Mean and variance of activations, exact in float64 whatever the chunks they come in."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Doubles = npt.NDArray[np.float64]


class Moments(NamedTuple):
    """Number, mean and squared deviations of rows, per dimension."""

    n: int
    mean: Doubles
    """(d,)"""
    squares: Doubles
    """(d,) summed squared deviations from the mean."""

    @property
    def variance(self) -> Doubles:
        """(d,) population variance."""
        return self.squares / max(1, self.n)

    @property
    def gamma(self) -> float | None:
        """||mean|| / ||standard deviation||: how far off centre activations lie; None where nothing varies.

        What predicts features that are dead from the start (arXiv 2605.31518).
        """
        spread = float(self.variance.sum())
        return float(np.linalg.norm(self.mean)) / math.sqrt(spread) if spread > 0 else None


def no_moments(width: int) -> Moments:
    """Of no rows at all."""
    return Moments(0, np.zeros(width), np.zeros(width))


def moments_of(rows: Tensor) -> Moments:
    """Of (n, d) rows."""
    exact = rows.to("cpu", torch.float64)
    if not len(exact):
        return no_moments(rows.shape[1])
    squares, mean = torch.var_mean(exact, dim=0, correction=0)
    return Moments(len(exact), mean.numpy(), (squares * len(exact)).numpy())


def merged(first: Moments, second: Moments) -> Moments:
    """Of the rows of both (Chan, Golub and LeVeque 1979)."""
    count = first.n + second.n
    if not count:
        return first
    apart = second.mean - first.mean
    share = second.n / count
    squares = first.squares + second.squares + apart**2 * (first.n * share)
    return Moments(count, first.mean + apart * share, squares)
