"""From a batch to the gradient of every weight. What computes it can be replaced: see ``Gradients``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sae.straight_through import step
from sae.trainer.coder import Coder, keep_highest
from sae.trainer.dead import DEAD, Left
from sae.trainer.losses import LOSSES, fvu
from sae.trainer.measure import Measured, Prepared, restore
from sae.trainer.recipe import Recipe


class Knobs(NamedTuple):
    """What differs from step to step."""

    k: int | None
    """Activations kept a row."""
    sparsity: float
    """Weight of the sparsity term."""
    cuts: tuple[int, ...]
    """Features of each nested prefix, the last all of them; empty where nothing is nested by prefix."""
    measured: Measured


class Outcome(NamedTuple):
    """What a step saw, left on the device."""

    loss: Tensor
    fvu: Tensor
    """() of the whole dictionary, on this batch."""
    l0: Tensor
    dead: Tensor
    """() features without an activation in the last ``dead.after`` rows."""
    least: Tensor | None
    """() least activation kept (batchtopk)."""


Gradients = Callable[[Coder, Prepared, Knobs], Outcome]
"""Sets ``grad`` of the coder's weights, counts ``idle`` on, and says what it saw."""


class _Code(NamedTuple):
    h: Tensor
    z: Tensor
    decoded: Tensor


def autograd(coder: Coder, batch: Prepared, knobs: Knobs) -> Outcome:
    """The gradients of any recipe, by automatic differentiation of dense products."""
    recipe = coder.recipe
    with torch.autocast(batch.u.device.type, torch.bfloat16, enabled=recipe.optimiser.bf16):
        h = coder.pre_activations(batch.u)
        h = h.float() if recipe.optimiser.bf16 else h
        z = coder.activate(h, knobs.k)
        code = _Code(h, z, coder.decode(z).float())
    error = batch.target - code.decoded
    active = count_idle(coder, code.z)
    dead = coder.idle > recipe.dead.after
    reconstructed = _reconstruction(coder, batch, code, knobs)
    loss = (
        reconstructed + _sparsity(coder, batch, code, knobs) + _dead(coder, code, error, dead, reconstructed)
    )
    coder.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        seen = fvu(error, batch.target)
    return Outcome(loss.detach(), seen, active.sum() / len(h), dead.sum(), _least(coder, code.z))


@torch.no_grad()
def count_idle(coder: Coder, z: Tensor) -> Tensor:
    """Add (b, F) activations to the rows each feature has been idle; where they are active."""
    active = z != 0
    coder.idle += len(z)
    coder.idle[active.any(0)] = 0
    return active


def _reconstruction(coder: Coder, batch: Prepared, code: _Code, knobs: Knobs) -> Tensor:
    recipe = coder.recipe
    measured = LOSSES[recipe.loss.reconstruction]
    raw = recipe.loss.space == "raw"

    def loss(decoded: Tensor) -> Tensor:
        if raw:
            return measured(batch.x - restore(decoded, batch, how=recipe.input, by=knobs.measured), batch.x)
        return measured(batch.target - decoded, batch.target)

    if recipe.nesting is None:
        return loss(code.decoded)
    nested = (
        _by_k(coder, code, loss) if recipe.nesting.by == "k" else _by_prefix(coder, code, knobs.cuts, loss)
    )
    weights = nesting_weights(recipe, len(nested))
    total = torch.stack([weight * each for weight, each in zip(weights, nested, strict=True)]).sum()
    return total / sum(weights) if recipe.nesting.average else total


def nesting_weights(recipe: Recipe, count: int) -> tuple[float, ...]:
    """One weight for each of ``count`` nested reconstructions."""
    assert recipe.nesting is not None
    how = recipe.nesting.weights
    if isinstance(how, tuple):
        return how
    return tuple(float(count - at) if how == "reverse" else 1.0 for at in range(count))


def nesting_ks(recipe: Recipe, n_features: int) -> tuple[int, ...]:
    """The values of k of nesting by k: as listed, or doubling from the recipe's own to all features."""
    assert recipe.nesting is not None and recipe.k is not None
    if recipe.nesting.ks:
        return recipe.nesting.ks
    ks = [recipe.k]
    while ks[-1] * 2 < n_features:
        ks.append(ks[-1] * 2)
    return (*ks, n_features) if ks[-1] < n_features else tuple(ks)


def _by_k(coder: Coder, code: _Code, loss: Callable[[Tensor], Tensor]) -> list[Tensor]:
    sign = coder.recipe.sign
    ks = nesting_ks(coder.recipe, coder.n_features)
    return [loss(coder.decode(keep_highest(code.h, k, sign=sign))) for k in ks]


def _by_prefix(
    coder: Coder, code: _Code, cuts: tuple[int, ...], loss: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    decoded: Tensor = coder.b_dec
    begun, losses = 0, []
    for end in cuts:
        decoded = decoded + code.z[:, begun:end] @ coder.directions[begun:end]
        losses.append(loss(decoded))
        begun = end
    return losses


def _sparsity(coder: Coder, batch: Prepared, code: _Code, knobs: Knobs) -> Tensor:
    how = coder.recipe.loss
    total = code.h.new_zeros(())
    if how.sparsity != "none" and knobs.sparsity:
        total = total + knobs.sparsity * _SPARSITY[how.sparsity](coder, batch, code)
    if how.pre_activation:
        lacking = (coder.thresholds - code.h).relu() * coder.directions.norm(dim=1)
        total = total + how.pre_activation * lacking.sum(1).mean()
    if coder.recipe.architecture == "gated" and how.gate_aux:
        alone = code.h.relu() @ coder.directions.detach() + coder.b_dec.detach()
        total = total + how.gate_aux * LOSSES[how.reconstruction](batch.target - alone, batch.target)
    return total


def _weighed(coder: Coder, code: _Code) -> Tensor:
    """What the sparsity term sums: activations, or the gate's own of a gated dictionary."""
    z = code.h.relu() if coder.recipe.architecture == "gated" else code.z.abs()
    return z * coder.directions.norm(dim=1) if coder.recipe.loss.decoder_norms else z


def _count(coder: Coder, code: _Code) -> Tensor:
    jump = coder.recipe.jump
    steps = step(code.h.relu(), coder.thresholds, bandwidth=jump.bandwidth, kernel=jump.kernel)
    return steps.sum(1).mean()


_SPARSITY: dict[str, Callable[[Coder, Prepared, _Code], Tensor]] = {
    "l1": lambda coder, batch, code: _weighed(coder, code).sum(1).mean(),
    "l1-relative": lambda coder, batch, code: (
        _weighed(coder, code).sum(1) / batch.u.norm(dim=1).clamp(min=1e-12)
    ).mean(),
    "l0": lambda coder, batch, code: _count(coder, code),
    "l0-target": lambda coder, batch, code: (_count(coder, code) / (coder.recipe.k or 1) - 1).square(),
    "tanh": lambda coder, batch, code: (
        torch.tanh(coder.recipe.loss.tanh_scale * _weighed(coder, code)).sum(1).mean()
    ),
}


def _dead(coder: Coder, code: _Code, error: Tensor, dead: Tensor, reconstructed: Tensor) -> Tensor:
    policy = DEAD.get(coder.recipe.dead.policy)
    if policy is None or not bool(dead.any()):
        return error.new_zeros(())
    return policy(coder, Left(code.h, error.detach(), dead, reconstructed.detach()))


def _least(coder: Coder, z: Tensor) -> Tensor | None:
    if coder.recipe.architecture != "batchtopk":
        return None
    z = z.detach()
    return z.where(z > 0, torch.inf).min()
