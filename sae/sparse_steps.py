"""Gradients of TopK, BatchTopK and ReLU dictionaries, computed at the active entries alone.

Of the dense products only the encoder's is left, and no (b, F) gradient is ever built. The result is that of
``sae.trainer.gradients.autograd``, which does the rest: recipes that ``supported`` refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    sum_rows_,
    sum_rows_and_dot_,
)
from sae.sparse_topk import batch_top, topk_codes
from sae.trainer.coder import Coder
from sae.trainer.gradients import Knobs, Outcome, autograd
from sae.trainer.losses import LOSSES, fvu
from sae.trainer.measure import Prepared
from sae.trainer.recipe import Recipe

DENSE = 1 / 16
"""Share of active entries above which dense products are faster."""
AT_ONCE = 1 << 26
"""Pre-activations of topk that are held at once."""
SEARCHED = 1 << 22
"""Pre-activations of relu that are searched at once: few enough to stay in the processor's cache."""


class Parts(NamedTuple):
    """The gradients that are summed over rows and features, and what they were computed from."""

    inputs: Tensor
    """(b, d) what the encoder's weights are multiplied with."""
    by_decoded: Tensor
    """(b, d) gradient of the loss by the reconstructions."""
    by_bias: Tensor
    """(F,) gradient by the encoder's bias."""


class SparseGradients:
    """Computes what ``autograd`` computes. Keeps the memory of its (b, F) products from step to step."""

    def __init__(self) -> None:
        self._memory: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, coder: Coder, batch: Prepared, knobs: Knobs) -> Outcome:
        """Sets ``grad`` of the coder's weights, counts ``idle`` on, and says what it saw."""
        if not supported(coder.recipe):
            with torch.enable_grad():
                return autograd(coder, batch, knobs)
        _make_row_major(coder.W_enc)
        inputs = batch.u - coder.b_dec if coder.recipe.decoder.subtract_bias else batch.u
        if coder.recipe.architecture == "topk":
            parts = [topk_codes(h, knobs.k or 0) for h in self._products(coder, inputs)]
            values, indices = (torch.cat(each) for each in zip(*parts, strict=True))
            return _sparse(coder, inputs, of_top(values, indices), batch=batch, knobs=knobs)
        h = self._product(coder, inputs)
        entries = _SELECT[coder.recipe.architecture](h, knobs.k)
        if entries is None:
            return self._dense(coder, inputs, h.relu_(), batch=batch, knobs=knobs)
        return _sparse(coder, inputs, entries, batch=batch, knobs=knobs)

    def _products(self, coder: Coder, inputs: Tensor) -> Iterator[Tensor]:
        """Pre-activations of some rows after others, each lost with the next."""
        for rows in torch.split(inputs, max(1, AT_ONCE // coder.n_features)):
            yield self._product(coder, rows)

    def _product(self, coder: Coder, inputs: Tensor) -> Tensor:
        out = self._held("h", len(inputs), coder)
        return torch.addmm(coder.b_enc, inputs, coder.W_enc, out=out)

    def _dense(self, coder: Coder, inputs: Tensor, z: Tensor, *, batch: Prepared, knobs: Knobs) -> Outcome:
        """Of ReLU codes that are mostly active, as they are when a training begins; z is used up."""
        decoded = torch.addmm(coder.b_dec, z, coder.W_dec)
        loss, by_decoded = _reconstruction(coder, batch, decoded)
        by_z = torch.mm(by_decoded, coder.W_dec.T, out=self._held("by_z", len(inputs), coder))
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
        return _finish(coder, parts, _Seen(loss, decoded, active.sum(0)), batch=batch)

    def _held(self, name: str, rows: int, coder: Coder) -> Tensor:
        """(rows, F) memory, as it was left."""
        held, size = self._memory.get(name), rows * coder.n_features
        if held is None or held.numel() < size or held.device != coder.W_enc.device:
            held = self._memory[name] = coder.W_enc.new_empty(size)
        return held[:size].view(rows, coder.n_features)


def supported(recipe: Recipe) -> bool:
    """Whether these gradients are the recipe's; all others are left to automatic differentiation."""
    return all(
        (
            recipe.architecture in ("topk", *_SELECT),
            recipe.sign == "relu" and recipe.soft_cap is None,
            recipe.nesting is None,
            recipe.decoder.kind == "free" and recipe.decoder.norm != "rescaled",
            not recipe.input.affine and not recipe.optimiser.bf16,
            recipe.loss.space == "normalised" and recipe.loss.sparsity in ("none", "l1", "l1-relative"),
            recipe.loss.sparsity == "none" or not recipe.loss.decoder_norms,
            recipe.dead.policy != "ghost",
        )
    )


def _batchtopk(h: Tensor, k: int | None) -> Entries:
    positions = batch_top(h, (k or 0) * len(h))
    return of_positions(positions, h.flatten()[positions], shape=(len(h), h.shape[1]))


def _relu(h: Tensor, k: int | None) -> Entries | None:
    found, begun = [], 0
    for rows in torch.split(h.flatten(), SEARCHED):
        positions = (rows > 0).nonzero().flatten()
        found.append(positions + begun)
        begun += len(rows)
        # Of the first alone, so that what is done depends on nothing but weights and batch.
        if len(found) == 1 and len(positions) > DENSE * len(rows):
            return None
    positions = torch.cat(found)
    return of_positions(positions, h.flatten()[positions], shape=(len(h), h.shape[1]))


_SELECT: dict[str, Callable[[Tensor, int | None], Entries | None]] = {"batchtopk": _batchtopk, "relu": _relu}
"""The active entries of (b, F) pre-activations; None where they are too many to be worth it."""


class _Seen(NamedTuple):
    loss: Tensor
    decoded: Tensor
    counts: Tensor
    """(F,) rows on which each feature is active."""
    least: Tensor | None = None


def _sparse(coder: Coder, inputs: Tensor, entries: Entries, *, batch: Prepared, knobs: Knobs) -> Outcome:
    decoded = decode(entries, coder.W_dec) + coder.b_dec
    loss, by_decoded = _reconstruction(coder, batch, decoded)
    where = by_feature(entries, coder.n_features)
    values = entries.values[where.order]
    into = _grad(coder.W_dec)
    into = torch.empty_like(coder.W_dec) if into is None else into
    by_values = sum_rows_and_dot_(into, where, values, rows=by_decoded, by=coder.W_dec)
    price = _price(coder, batch, knobs)
    if price is not None:
        paid = price[where.rows]
        loss, by_values = loss + values @ paid, by_values + paid
    active = values > 0
    by_values *= active
    sum_rows_(_of(coder.W_enc).T, where, by_values, rows=inputs)
    columns = entries.columns[where.order]
    by_bias = _count(columns, by_values, coder.n_features)
    counts = _count(columns, active.to(values.dtype), coder.n_features)
    least = values.where(active, torch.inf).min() if coder.recipe.architecture == "batchtopk" else None
    seen = _Seen(loss, decoded, counts, least)
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


def _reconstruction(coder: Coder, batch: Prepared, decoded: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and its gradient by (b, d) reconstructions."""
    with torch.enable_grad():
        asked = decoded.detach().requires_grad_()
        loss = LOSSES[coder.recipe.loss.reconstruction](batch.target - asked, batch.target)
        by_decoded = torch.autograd.grad(loss, asked)[0]
    return loss.detach(), by_decoded


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
