"""Relevance by attention: products of attention and its gradient, carried from block to block.

Chefer, Gur & Wolf, "Generic attention-model explainability" (arXiv 2103.15679), and the older rollout of
attention averaged over heads (arXiv 2005.00928), weighted by averaged gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sae.attention import record_attention
from sae.errors import UnfitMethod
from sae.relevance.subject import Subject

DISCARD = 0.9
"""Share of a block's entries, the lowest, that the averaging rollout leaves out."""


class Layer(NamedTuple):
    """Attention of a block and what the score's gradient says of it, each (b, heads, p, p)."""

    attention: Tensor
    gradient: Tensor


def chefer(subject: Subject) -> Tensor:
    """(b, rows * columns) by R <- R + mean_h(max(0, gradient * attention)) R, as published."""
    return _mapped(subject, lambda layers: _carried(layers, _products))


def chefer_rows(subject: Subject) -> Tensor:
    """The same with every row of the product brought to a sum of 1 first.

    The published sum adds a gradient, whose size goes with the unit of the feature, to the identity; so
    the deeper products of a weak feature vanish beside it. Shares do not depend on the unit.
    """
    return _mapped(subject, lambda layers: _carried(layers, lambda layer: _shares(_products(layer))))


def rollout(subject: Subject, *, discard: float = DISCARD) -> Tensor:
    """The variant that averages heads before the product: mean_h(attention) * mean_h(gradient), from 0.

    The lowest ``discard`` of all entries are dropped, the identity added, rows brought to a sum of 1.
    """

    def carried(layers: Sequence[Layer]) -> Tensor:
        identity = torch.eye(layers[0].attention.shape[-1]).to(layers[0].attention)
        relevance = identity.expand_as(layers[0].attention[:, 0])
        for layer in layers:
            averaged = layer.attention.mean(1) * layer.gradient.mean(1)
            relevance = _shares(_strongest(averaged.clamp(min=0), 1 - discard) + identity) @ relevance
        return relevance

    return _mapped(subject, carried)


def _mapped(subject: Subject, carried: Callable[[Sequence[Layer]], Tensor]) -> Tensor:
    layers = _layers(subject)
    n_prefix, n = subject.backbone.n_prefix_tokens, layers[0].attention.shape[-1]
    if n - n_prefix != subject.grid.rows * subject.grid.columns:
        raise UnfitMethod(
            f"The blocks attend to {n} tokens, not to {n_prefix} and one for each of {subject.grid.rows} x "
            f"{subject.grid.columns} patches; use occlusion or gradient-input."
        )
    found = (_start(layers[-1])[:, None] @ carried(layers))[:, 0, n_prefix:]
    return found.detach().float().cpu()


def _layers(subject: Subject) -> list[Layer]:
    """Blocks that the score depends on. NoAttention where blocks do not attend."""
    with record_attention(subject.backbone.blocks) as recorded:
        _, score = subject.with_graph()
    maps = recorded.maps
    gradients = torch.autograd.grad(score.sum(), maps, allow_unused=True)
    found = zip(maps, gradients, strict=True)
    layers = [Layer(each.detach(), gradient) for each, gradient in found if gradient is not None]
    if not layers:
        raise UnfitMethod(
            f"Hook point {subject.reader.hook_point!r} lies before any attention; use occlusion or "
            "gradient-input."
        )
    return layers


def _start(last: Layer) -> Tensor:
    """(b, p) how far the score reads each token: its row's share of the last block's product.

    All of it the class token's where that alone is read, the strongest patch's where codes are pooled by
    their maximum.
    """
    rows = (last.attention * last.gradient).abs().mean(1).sum(-1)
    return _shares(rows)


def _carried(layers: Sequence[Layer], product: Callable[[Layer], Tensor]) -> Tensor:
    identity = torch.eye(layers[0].attention.shape[-1]).to(layers[0].attention)
    relevance = identity.expand_as(layers[0].attention[:, 0])
    for layer in layers:
        relevance = relevance + product(layer) @ relevance
    return relevance


def _products(layer: Layer) -> Tensor:
    return (layer.gradient * layer.attention).clamp(min=0).mean(1)


def _strongest(averaged: Tensor, share: float) -> Tensor:
    """Zero all but the highest share of each image's (p, p) entries."""
    flat = averaged.flatten(1)
    kept = flat.topk(max(1, round(share * flat.shape[1])), dim=1)
    return torch.zeros_like(flat).scatter(1, kept.indices, kept.values).view_as(averaged)


def _shares(rows: Tensor) -> Tensor:
    """Rows of a sum of 1; a row of zeros stays."""
    return rows / rows.sum(-1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
