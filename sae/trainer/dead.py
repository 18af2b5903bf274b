"""What is done about dead features: AuxK and ghost gradients as losses, resampling between steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sae.architectures import keep_top
from sae.trainer.coder import Coder
from sae.trainer.losses import LEAST, LOSSES, fvu


class Left(NamedTuple):
    """What a batch left over."""

    h: Tensor
    """(b, F) pre-activations."""
    error: Tensor
    """(b, d), detached."""
    dead: Tensor
    """(F,) bool, some of them true."""
    loss: Tensor
    """() reconstruction loss, detached."""


def auxk(coder: Coder, left: Left) -> Tensor:
    """Loss of what the dead features leave of the error, at most k of them a row (arXiv 2406.04093)."""
    how = coder.recipe.dead
    k = how.k or max(1, left.error.shape[1] // 2)
    codes = keep_top(left.h.relu()[:, left.dead], k)
    rest = left.error - codes @ coder.directions[left.dead]
    measured = _centred_fvu if how.loss == "fvu" else LOSSES[how.loss]
    weight = how.weight * (min(1.0, float(left.dead.sum()) / k) if how.scaled else 1.0)
    return weight * measured(rest, left.error)


def _centred_fvu(rest: Tensor, error: Tensor) -> Tensor:
    return rest.square().sum() / (error - error.mean(0)).square().sum().clamp(min=LEAST)


def ghost(coder: Coder, left: Left) -> Tensor:
    """Exponentials of the dead pre-activations, at half the error's norm, drawn towards the error.

    Counts as much as the reconstruction loss, times the weight.
    """
    shown = left.h[:, left.dead].exp() @ coder.directions[left.dead]
    half = left.error.norm(dim=1, keepdim=True) / (2 * shown.norm(dim=1, keepdim=True) + LEAST)
    loss = fvu(shown * half.detach() - left.error, left.error)
    return coder.recipe.dead.weight * loss * (left.loss / (loss.detach() + LEAST))


DEAD: dict[str, Callable[[Coder, Left], Tensor]] = {"auxk": auxk, "ghost": ghost}
"""Losses by policy."""


@torch.no_grad()
def resample(
    coder: Coder,
    optimiser: torch.optim.Optimizer,
    *,
    batch: tuple[Tensor, Tensor],
    generator: torch.Generator,
) -> int:
    """Point dead features at rows that are badly reconstructed, and forget what the optimiser knew of them.

    Of the (b, d) u and target of ``batch`` rows are drawn in proportion to their squared loss, each once: as
    many features begin anew as there are rows. A direction becomes the row's own, centred by the decoder's
    bias, the encoder column the same at ``encoder_share`` of the mean norm of living ones, the bias 0. How
    many features were resampled.
    """
    dead = (coder.idle > coder.recipe.dead.after).nonzero().flatten()
    u, target = batch
    decoded = coder.decode(coder.activate(coder.pre_activations(u), coder.recipe.k))
    chance = (target - decoded).square().sum(1).square().cpu()
    chance = chance / chance.max().clamp(min=torch.finfo(chance.dtype).tiny)
    count = min(len(dead), int((chance > 0).sum()))
    if not count:
        return 0
    dead = dead[:count]
    rows = torch.multinomial(chance, count, generator=generator).to(u.device)
    living = torch.ones(coder.n_features, dtype=torch.bool, device=u.device)
    living[dead] = False
    norm = coder.W_enc[:, living].norm(dim=0).mean() if bool(living.any()) else u.new_ones(())
    towards = F.normalize(u[rows] - coder.b_dec, dim=1)
    _point(coder, optimiser, dead=dead, towards=towards, norm=norm * coder.recipe.dead.encoder_share)
    coder.idle[dead] = 0
    return count


def _point(
    coder: Coder, optimiser: torch.optim.Optimizer, *, dead: Tensor, towards: Tensor, norm: Tensor
) -> None:
    """Set direction (F side) ``dead`` to (n, d) ``towards`` and reset the moments of what was set."""
    if coder.recipe.decoder.kind == "free":
        coder.W_dec[dead] = towards
        _forget(coder.W_dec, optimiser, at=(dead,))
    coder.W_enc[:, dead] = (towards if coder.recipe.decoder.kind == "tied" else towards * norm).T
    _forget(coder.W_enc, optimiser, at=(slice(None), dead))
    for each in (coder.b_enc, coder.b_mag, coder.r_mag):
        each[dead] = 0
        _forget(each, optimiser, at=(dead,))


def _forget(weight: Tensor, optimiser: torch.optim.Optimizer, *, at: tuple[slice | Tensor, ...]) -> None:
    for name, moment in optimiser.state.get(weight, {}).items():
        if name.startswith("exp_avg"):
            moment[at] = 0
