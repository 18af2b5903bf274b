"""Gradients of TopK, BatchTopK and ReLU dictionaries, computed at the active entries alone.

Of the dense products only the encoder's is left, and no (b, F) gradient is ever built. The result is that of
``sae.trainer.gradients.autograd``, which does the rest: recipes that ``supported`` refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sae.sparse_dead import add_auxk
from sae.sparse_entries import (
    Entries,
    by_feature,
    decode,
    of_positions,
    of_top,
    rows_of,
    sum_rows_,
)
from sae.sparse_topk import batch_top, topk_codes
from sae.trainer.coder import Coder
from sae.trainer.gradients import Knobs, Outcome, autograd
from sae.trainer.losses import LOSSES, fvu
from sae.trainer.measure import Prepared
from sae.trainer.recipe import Recipe

DENSE = 1 / 16
"""Share of active entries above which dense products are faster."""
CHUNK = 24 * 2**20
"""Bytes of pre-activations at once on a CPU: what stays in its cache, and what its allocator keeps."""


class Parts(NamedTuple):
    """The gradients that are summed over rows and features, and what they were computed from."""

    inputs: Tensor
    """(b, d) what the encoder's weights are multiplied with."""
    by_decoded: Tensor
    """(b, d) gradient of the loss by the reconstructions."""
    by_bias: Tensor
    """(F,) gradient by the encoder's bias."""


class SparseGradients:
    """Computes what ``autograd`` computes; keeps its (b, F) buffers, which only dense codes need."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, int, int, torch.device], Tensor] = {}

    @torch.no_grad()
    def __call__(self, coder: Coder, batch: Prepared, knobs: Knobs) -> Outcome:
        """Sets ``grad`` of the coder's weights, counts ``idle`` on, and says what it saw."""
        if not supported(coder.recipe):
            with torch.enable_grad():
                return autograd(coder, batch, knobs)
        _make_row_major(coder.W_enc)
        inputs = batch.u - coder.b_dec if coder.recipe.decoder.subtract_bias else batch.u
        entries = _SELECT[coder.recipe.architecture](coder, inputs, knobs.k)
        if entries is None:
            return self._dense(coder, inputs, batch=batch, knobs=knobs)
        return _sparse(coder, inputs, entries, batch=batch, knobs=knobs)

    def _dense(self, coder: Coder, inputs: Tensor, *, batch: Prepared, knobs: Knobs) -> Outcome:
        """Of ReLU codes that are mostly active, as they are when a training begins."""
        z, by_z = (self._buffer(name, inputs, coder.n_features) for name in ("z", "by_z"))
        torch.addmm(coder.b_enc, inputs, coder.W_enc, out=z).relu_()
        decoded = torch.addmm(coder.b_dec, z, coder.W_dec)
        with torch.enable_grad():
            decoded.requires_grad_()
            loss = _reconstruction(coder, batch, decoded)
            by_decoded = torch.autograd.grad(loss, decoded)[0]
        loss = loss.detach()
        torch.mm(by_decoded, coder.W_dec.T, out=by_z)
        price = _price(coder, batch, knobs)
        if price is not None:
            loss = loss + z.sum(1) @ price
            by_z += price[:, None]
        if (into := _grad(coder.W_dec)) is not None:
            torch.mm(z.T, by_decoded, out=into)
        active = z.sign_()
        by_z *= active
        torch.mm(by_z.T, inputs, out=_of(coder.W_enc).T)
        parts = Parts(inputs, by_decoded, by_z.sum(0))
        return _finish(coder, parts, _Seen(loss, decoded.detach(), active.sum(0)), batch=batch)

    def _buffer(self, name: str, like: Tensor, n_features: int) -> Tensor:
        key = (name, len(like), n_features, like.device)
        if key not in self._buffers:
            self._buffers = {held: each for held, each in self._buffers.items() if held[1:] == key[1:]}
            self._buffers[key] = like.new_empty(len(like), n_features)
        return self._buffers[key]


def supported(recipe: Recipe) -> bool:
    """Whether these gradients are the recipe's; all others are left to automatic differentiation."""
    return all(
        (
            recipe.architecture in _SELECT,
            recipe.sign == "relu" and recipe.soft_cap is None,
            recipe.nesting is None,
            recipe.decoder.kind == "free" and recipe.decoder.norm != "rescaled",
            not recipe.input.affine and not recipe.optimiser.bf16,
            recipe.loss.space == "normalised" and recipe.loss.sparsity in ("none", "l1", "l1-relative"),
            recipe.loss.sparsity == "none" or not recipe.loss.decoder_norms,
            recipe.dead.policy != "ghost",
        )
    )


def pre_activation_chunks(coder: Coder, inputs: Tensor) -> list[Tensor]:
    """(b, d) inputs in runs of rows whose (·, F) pre-activations are worth holding at once."""
    if inputs.device.type != "cpu":
        return [inputs]
    return list(torch.split(inputs, max(1, CHUNK // (4 * coder.n_features))))


def _topk(coder: Coder, inputs: Tensor, k: int | None) -> Entries:
    found = [
        topk_codes(torch.addmm(coder.b_enc, rows, coder.W_enc), k or 0)
        for rows in pre_activation_chunks(coder, inputs)
    ]
    return of_top(torch.cat([top.values for top in found]), torch.cat([top.indices for top in found]))


def _batchtopk(coder: Coder, inputs: Tensor, k: int | None) -> Entries:
    h = torch.addmm(coder.b_enc, inputs, coder.W_enc)
    positions = batch_top(h, (k or 0) * len(h))
    return of_positions(positions, h.flatten()[positions], shape=(len(h), h.shape[1]))


def _relu(coder: Coder, inputs: Tensor, k: int | None) -> Entries | None:
    positions, values, begun = [], [], 0
    for rows in pre_activation_chunks(coder, inputs):
        h = torch.addmm(coder.b_enc, rows, coder.W_enc).flatten()
        positive = h > 0
        # Of the first rows alone, so that what is done depends on nothing but weights and batch.
        if not begun and int(positive.sum()) > DENSE * len(h):
            return None
        found = positive.nonzero().flatten()
        values.append(h[found])
        positions.append(found + begun)
        begun += len(h)
    return of_positions(torch.cat(positions), torch.cat(values), shape=(len(inputs), coder.n_features))


_SELECT: dict[str, Callable[[Coder, Tensor, int | None], Entries | None]] = {
    "topk": _topk,
    "batchtopk": _batchtopk,
    "relu": _relu,
}
"""The active entries of (b, d) inputs; None where they are too many to be worth it."""


class _Seen(NamedTuple):
    loss: Tensor
    decoded: Tensor
    counts: Tensor
    """(F,) rows on which each feature is active."""
    least: Tensor | None = None


def _sparse(coder: Coder, inputs: Tensor, entries: Entries, *, batch: Prepared, knobs: Knobs) -> Outcome:
    with torch.enable_grad():
        values = entries.values.requires_grad_()
        decoded = decode(entries, coder.W_dec.detach()) + coder.b_dec.detach()
        loss = _reconstruction(coder, batch, decoded)
        by_values, by_decoded = torch.autograd.grad(loss, (values, decoded))
    loss, values = loss.detach(), values.detach()
    active = values > 0
    price = _price(coder, batch, knobs)
    if price is not None:
        paid = price[rows_of(entries)]
        loss, by_values = loss + values @ paid, by_values + paid
    by_values *= active
    where = by_feature(entries, coder.n_features)
    if (into := _grad(coder.W_dec)) is not None:
        sum_rows_(into, where, values, rows=by_decoded)
    sum_rows_(_of(coder.W_enc).T, where, by_values, rows=inputs)
    by_bias = _count(entries.columns, by_values, coder.n_features)
    counts = _count(entries.columns, active.to(values.dtype), coder.n_features)
    least = values.where(active, torch.inf).min() if coder.recipe.architecture == "batchtopk" else None
    seen = _Seen(loss, decoded.detach(), counts, least)
    return _finish(coder, Parts(inputs, by_decoded, by_bias), seen, batch=batch)


def _finish(coder: Coder, parts: Parts, seen: _Seen, *, batch: Prepared) -> Outcome:
    """The gradients of the biases, what dead features add, and the figures of the step."""
    coder.idle += len(parts.inputs)
    coder.idle[seen.counts > 0] = 0
    if (into := _grad(coder.b_enc)) is not None:
        into.copy_(parts.by_bias)
    if (into := _grad(coder.b_dec)) is not None:
        torch.sum(parts.by_decoded, 0, out=into)
        if coder.recipe.decoder.subtract_bias:
            into -= coder.W_enc @ parts.by_bias
    error = batch.target - seen.decoded
    dead = coder.idle > coder.recipe.dead.after
    loss = seen.loss
    if coder.recipe.dead.policy == "auxk" and bool(dead.any()):
        loss = loss + add_auxk(coder, batch.u, error=error, dead=dead)
    l0 = seen.counts.sum() / len(parts.inputs)
    return Outcome(loss, fvu(error, batch.target), l0, dead.sum(), seen.least)


def _reconstruction(coder: Coder, batch: Prepared, decoded: Tensor) -> Tensor:
    return LOSSES[coder.recipe.loss.reconstruction](batch.target - decoded, batch.target)


def _price(coder: Coder, batch: Prepared, knobs: Knobs) -> Tensor | None:
    """(b,) what the sparsity term charges for an activation of 1 on each row."""
    how, b = coder.recipe.loss, len(batch.u)
    if how.sparsity == "none" or not knobs.sparsity:
        return None
    if how.sparsity == "l1":
        return batch.u.new_full((b,), knobs.sparsity / b)
    norms: Tensor = batch.u.norm(dim=1)
    return knobs.sparsity / b / norms.clamp(min=1e-12)


def _count(columns: Tensor, weights: Tensor, n_features: int) -> Tensor:
    return weights.new_zeros(n_features).index_add_(0, columns, weights)


def _make_row_major(weight: nn.Parameter) -> None:
    """Lay (d, F) weights out feature after feature, as gradients are summed."""
    if not weight.T.is_contiguous():
        weight.data = weight.data.T.contiguous().T
        weight.grad = None


def _of(weight: nn.Parameter) -> Tensor:
    """Its gradient's memory, kept from step to step."""
    if weight.grad is None:
        weight.grad = torch.empty_like(weight)
    return weight.grad


def _grad(weight: nn.Parameter) -> Tensor | None:
    return _of(weight) if weight.requires_grad else None
