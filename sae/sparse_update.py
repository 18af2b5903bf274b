"""A step of Adam on a dictionary's weights in as few passes over memory as its mathematics needs.

Freeing the gradient of its part along the directions, clipping, Adam and bringing directions back to norm 1
are passes over tens of megabytes each; block after block they are two. The result is that of
``Coder.before_step``, ``clip_grad_norm_``, ``torch.optim.Adam.step`` and ``Coder.after_step`` in turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.adam import Adam, adam

from sae.trainer.coder import Coder

BLOCK = 1024
"""Features at once: few enough to stay in the processor's cache."""


@torch.no_grad()
def update(coder: Coder, optimiser: torch.optim.Optimizer, *, clip: float | None) -> None:
    """Move the weights by the gradients they have, which are used up; their norm is cut to ``clip``."""
    if not _fits(coder, optimiser):
        _in_turn(coder, optimiser, clip)
        return
    if coder.recipe.decoder.project_gradient:
        _project(coder)
    learnt = [(each, group) for group in optimiser.param_groups for each in group["params"]]
    learnt = [(each, group) for each, group in learnt if each.grad is not None]
    shrink = 1.0
    if clip is not None:
        norms = [float(torch.linalg.vector_norm(each.grad)) for each, _ in learnt]
        shrink = max(1.0, (math.hypot(*norms) + 1e-6) / clip)
    for weight, group in learnt:
        moments = _moments(weight, optimiser)
        moved = _Moved(*map(_rows, (weight, weight.grad, moments["exp_avg"], moments["exp_avg_sq"])))
        unit = weight is coder.W_dec and coder.recipe.decoder.norm == "unit"
        for block in moved.blocks() if unit else (moved,):
            _adam(block, moments["step"], group=group, shrink=shrink)
            if unit:
                block.weight.div_(
                    torch.linalg.vector_norm(block.weight, dim=1, keepdim=True).clamp(min=1e-12)
                )
        moments["step"] += 1


class _Moved(NamedTuple):
    """A weight and what moves it, laid out alike."""

    weight: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor

    def blocks(self) -> Iterator[_Moved]:
        for start in range(0, len(self.weight), BLOCK):
            yield _Moved(*(each[start : start + BLOCK] for each in self))


def _fits(coder: Coder, optimiser: torch.optim.Optimizer) -> bool:
    how = coder.recipe.decoder
    plain = type(optimiser) is Adam and not any(
        group["amsgrad"] or group["maximize"] for group in optimiser.param_groups
    )
    return plain and how.kind == "free" and how.norm in ("unit", "free") and not coder.W_dec.is_cuda


def _in_turn(coder: Coder, optimiser: torch.optim.Optimizer, clip: float | None) -> None:
    coder.before_step()
    if clip is not None:
        nn.utils.clip_grad_norm_(coder.parameters(), clip)
    optimiser.step()
    coder.after_step()


def _project(coder: Coder) -> None:
    """Free the decoder's gradient of its part along the directions."""
    how, gradient = coder.recipe.decoder, coder.W_dec.grad
    if gradient is None:
        return
    for start in range(0, len(gradient), BLOCK):
        block, weights = gradient[start : start + BLOCK], coder.W_dec[start : start + BLOCK]
        unit = weights if how.norm == "unit" and how.start_norm == 1 else F.normalize(weights, dim=1)
        block -= (block * unit).sum(1, keepdim=True) * unit


def _moments(weight: Tensor, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's own state of a weight, laid out as the weight is."""
    state: dict[str, Tensor] = optimiser.state[weight]
    if not state:
        state["step"] = torch.tensor(0.0)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
    for name in ("exp_avg", "exp_avg_sq"):
        if state[name].stride() != weight.stride():
            state[name] = torch.empty_like(weight).copy_(state[name])
    return state


def _rows(of: Tensor) -> Tensor:
    """Its memory in order: the transpose where that is what lies there."""
    return of if of.is_contiguous() else of.T


def _adam(block: _Moved, step: Tensor, *, group: dict[str, Any], shrink: float) -> None:
    adam(
        [block.weight],
        [block.gradient],
        [block.mean],
        [block.square],
        [],
        [step.clone()],
        fused=True,
        grad_scale=torch.tensor(shrink),
        amsgrad=False,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
    )
