"""Reconstruction losses by name: (b, d) reconstructions and targets to a number."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from sae.trainer.recipe import Reconstruction

LEAST = 1e-12
"""What a loss divides by at least."""


def fvu(error: Tensor, target: Tensor) -> Tensor:
    """Fraction of the batch's variance that is left: squared errors over squared distances to its mean."""
    return error.square().sum() / (target - target.mean(0)).square().sum().clamp(min=LEAST)


def _nmse(error: Tensor, target: Tensor) -> Tensor:
    ratios = error.square().sum(1) / target.square().sum(1).clamp(min=LEAST)
    return ratios.mean()


def _nmse_centred(error: Tensor, target: Tensor) -> Tensor:
    return _nmse(error, target - target.mean(0))


def _norm_divided(error: Tensor, target: Tensor) -> Tensor:
    norms: Tensor = target.norm(dim=1, keepdim=True)
    return (error.square() / norms.clamp(min=LEAST)).mean()


def _centred_norm_divided(error: Tensor, target: Tensor) -> Tensor:
    return _norm_divided(error, target - target.mean(0))


def _cosine(error: Tensor, target: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(target - error, target, dim=1)).mean()


LOSSES: dict[Reconstruction, Callable[[Tensor, Tensor], Tensor]] = {
    "mse-mean": lambda error, target: error.square().mean(),
    "mse-sum": lambda error, target: error.square().sum(1).mean(),
    "fvu": fvu,
    "nmse": _nmse,
    "nmse-centred": _nmse_centred,
    "norm-divided": _norm_divided,
    "centred-norm-divided": _centred_norm_divided,
    "cosine": _cosine,
}
"""(b, d) errors, target minus reconstruction, and targets to a number.

nmse, error over squared norm, is arXiv 2406.04093's; norm-divided has the norm itself below, as the first
vision dictionaries had.
"""
