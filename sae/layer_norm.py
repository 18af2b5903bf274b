"""Standardising each activation by its own mean and deviation, before encoding. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from sae.feature import Frozen

if TYPE_CHECKING:
    from torch import Tensor


class Statistics(NamedTuple):
    """What was taken out of each activation, to put it back into its reconstruction."""

    mean: Tensor
    """(..., 1)"""
    deviation: Tensor
    """(..., 1)"""


class LayerNorm(Frozen):
    """(x - mean) / deviation per activation; an affine part is folded into the encoder.

    The defaults are those of most published dictionaries: (x - mean) / (std + 1e-5) with std over d - 1,
    undone at the output. torch's own LayerNorm has ddof 0 and eps inside the root.
    """

    eps: float = Field(default=1e-5, ge=0, allow_inf_nan=False)
    ddof: Literal[0, 1] = 1
    """Subtracted from the width d where squares are averaged."""
    eps_inside_root: bool = False
    """sqrt(var + eps), else sqrt(var) + eps."""
    inverted: bool = True
    """Whether the reconstruction is scaled back; if not, it is in the units the decoder was trained on."""
    centred: bool = True
    """Whether the mean is taken out; if not, the deviation is the root mean square."""
    after_scale: bool = False
    """Whether the dictionary's own mean and scale come first."""

    def statistics(self, x: Tensor) -> Statistics:
        """Of (..., d), each over its last axis."""
        mean = x.mean(-1, keepdim=True) if self.centred else x.new_zeros(*x.shape[:-1], 1)
        variance = (x - mean).square().sum(-1, keepdim=True) / (x.shape[-1] - self.ddof)
        return Statistics(mean, (variance + self.eps if self.eps_inside_root else variance).sqrt())

    def apply(self, x: Tensor, statistics: Statistics) -> Tensor:
        """(..., d) standardised."""
        outside = 0.0 if self.eps_inside_root else self.eps
        return (x - statistics.mean) / (statistics.deviation + outside)

    def undo(self, x: Tensor, statistics: Statistics) -> Tensor:
        """(..., d) in the units of the activation again, without eps outside the root as the peers do."""
        return x * statistics.deviation + statistics.mean
