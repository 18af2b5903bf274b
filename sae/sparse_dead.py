"""AuxK on the dead features alone: their part of the encoder and decoder is all it touches."""

from __future__ import annotations

import torch
from torch import Tensor

from sae.architectures import keep_top
from sae.trainer.coder import Coder
from sae.trainer.losses import LEAST, LOSSES


def add_auxk(coder: Coder, u: Tensor, *, error: Tensor, dead: Tensor) -> Tensor:
    """Add the gradient of AuxK (arXiv 2406.04093) to those of the weights; its loss.

    ``error``: (b, d) that the living leave of (b, d) u's targets; ``dead``: (F,) bool, some of them true.
    """
    at = dead.nonzero().flatten()
    parts = [
        part.detach().requires_grad_()
        for part in (coder.W_enc.T[at], coder.b_enc[at], coder.W_dec[at], coder.b_dec)
    ]
    with torch.enable_grad():
        loss = _loss(coder, u, error, parts)
        by_enc, by_bias, by_dec, by_centre = torch.autograd.grad(loss, parts, allow_unused=True)
    for weight, gradient in (
        (_rows(coder.W_enc), by_enc),
        (coder.b_enc.grad, by_bias),
        (coder.W_dec.grad, by_dec),
    ):
        if weight is not None and gradient is not None:
            weight.index_add_(0, at, gradient)
    if coder.b_dec.grad is not None and by_centre is not None:
        coder.b_dec.grad += by_centre
    return loss.detach()


def _loss(coder: Coder, u: Tensor, error: Tensor, parts: list[Tensor]) -> Tensor:
    encoder, bias, directions, centre = parts
    how = coder.recipe.dead
    inputs = u - centre if coder.recipe.decoder.subtract_bias else u
    k = how.k or max(1, u.shape[1] // 2)
    codes = keep_top(torch.addmm(bias, inputs, encoder.T).relu(), k)
    rest = error - codes @ directions
    weight = how.weight * (min(1.0, len(bias) / k) if how.scaled else 1.0)
    if how.loss == "fvu":
        return weight * rest.square().sum() / (error - error.mean(0)).square().sum().clamp(min=LEAST)
    return weight * LOSSES[how.loss](rest, error)


def _rows(weight: Tensor) -> Tensor | None:
    return None if weight.grad is None else weight.grad.T
