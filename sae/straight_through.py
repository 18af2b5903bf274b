"""Steps that gradients pass: the derivative of a jump is replaced by a kernel of some width around it.

d/dθ H(h - θ) becomes -K((h - θ) / ε) / ε (arXiv 2407.14435, there with a rectangle as K).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

Kernel = Literal["rectangle", "triangle", "epanechnikov", "gaussian", "logistic", "silverman"]


def rectangle(t: Tensor) -> Tensor:
    """1 between -1/2 and 1/2, else 0."""
    return (t.abs() < 0.5).to(t.dtype)


def _silverman(t: Tensor) -> Tensor:
    scaled = t.abs() / math.sqrt(2)
    return 0.5 * torch.exp(-scaled) * torch.sin(scaled + math.pi / 4)


KERNELS: dict[Kernel, Callable[[Tensor], Tensor]] = {
    "rectangle": rectangle,
    "triangle": lambda t: (1 - t.abs()).clamp(min=0),
    "epanechnikov": lambda t: 0.75 * (1 - t.square()).clamp(min=0),
    "gaussian": lambda t: torch.exp(-t.square() / 2) / math.sqrt(2 * math.pi),
    "logistic": lambda t: torch.sigmoid(t) * torch.sigmoid(-t),
    "silverman": _silverman,
}
"""Functions with integral 1."""


def step(
    h: Tensor,
    threshold: Tensor,
    *,
    bandwidth: float,
    kernel: Kernel = "rectangle",
    to_input: bool = False,
) -> Tensor:
    """H(h - θ): 1 where (..., F) h exceeds (F,) thresholds.

    The gradient reaches θ through the kernel, and h as well with ``to_input``.
    """
    by = (bandwidth, kernel, to_input)
    result: Tensor = _Step.apply(h, threshold, *by)
    return result


def jump_relu(h: Tensor, threshold: Tensor, *, bandwidth: float, kernel: Kernel = "rectangle") -> Tensor:
    """h where it exceeds (F,) thresholds, else 0.

    The gradient by h is the exact one of the pieces, by θ it is -θ K((h - θ) / ε) / ε.
    """
    result: Tensor = _JumpReLU.apply(h, threshold, bandwidth, kernel)
    return result


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, threshold: Tensor, *by: Any) -> Tensor:
        ctx.save_for_backward(h, threshold)
        ctx.bandwidth, ctx.kernel, ctx.to_input = by
        return (h > threshold).to(h.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        h, threshold = ctx.saved_tensors
        slope = KERNELS[ctx.kernel]((h - threshold) / ctx.bandwidth) / ctx.bandwidth
        by_h = gradients[0] * slope
        return by_h if ctx.to_input else None, -by_h.sum_to_size(threshold.shape), None, None, None


class _JumpReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, threshold: Tensor, bandwidth: float, kernel: Kernel) -> Tensor:
        ctx.save_for_backward(h, threshold)
        ctx.bandwidth, ctx.kernel = bandwidth, kernel
        return h * (h > threshold)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        h, threshold = ctx.saved_tensors
        by_h = gradients[0] * (h > threshold)
        slope = KERNELS[ctx.kernel]((h - threshold) / ctx.bandwidth) / ctx.bandwidth
        by_threshold = -(gradients[0] * threshold * slope)
        return by_h, by_threshold.sum_to_size(threshold.shape), None, None
