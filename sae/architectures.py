"""SAE variants: how the features of each become active. Importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from sae.dictionary import SparseDictionary


class Variant(NamedTuple):
    """An SAE variant."""

    activate: Callable[[SparseDictionary, Tensor], Tensor]
    """Pre-activations (..., F), which may be used up, to activations."""
    needs: Literal["k", "threshold", "gate"] | None = None
    """What its dictionaries must have."""
    many_thresholds: bool = False
    """Whether the threshold is each feature's own, (F,), and not one number."""


class Side(NamedTuple):
    """What topk and batchtopk rank, and what they keep of those ranked highest."""

    rank: Callable[[Tensor], Tensor]
    kept: Callable[[Tensor], Tensor]


def _as_is(h: Tensor) -> Tensor:
    return h


SIGNS: dict[str, Side] = {
    "relu": Side(rank=lambda h: h.relu(), kept=lambda h: h.relu()),
    "keep": Side(rank=_as_is, kept=_as_is),
    "abs": Side(rank=lambda h: h.abs(), kept=_as_is),
    "abs-relu": Side(rank=lambda h: h.abs(), kept=lambda h: h.relu()),
}


def keep_top(h: Tensor, k: int) -> Tensor:
    """Zero all but the k highest of each row of (..., F); k is at most F."""
    import torch

    top = h.topk(min(k, h.shape[-1]), dim=-1, sorted=False)
    return torch.zeros_like(h).scatter(-1, top.indices, top.values)


def _keep_ranked(h: Tensor, side: Side, k: int) -> Tensor:
    """Of the k highest of each row by rank, what is kept; zero elsewhere."""
    import torch

    top = side.rank(h).topk(min(k, h.shape[-1]), dim=-1, sorted=False).indices
    return torch.zeros_like(h).scatter(-1, top, side.kept(h.gather(-1, top)))


def _topk(dictionary: SparseDictionary, h: Tensor) -> Tensor:
    from sae.sparse_topk import keep_topk

    k = dictionary.k or 0
    if dictionary.sign == "relu":
        return keep_topk(h, k)
    return _keep_ranked(h, SIGNS[dictionary.sign], k)


def _batchtopk(dictionary: SparseDictionary, h: Tensor) -> Tensor:
    """Above the threshold; without one, the k highest a row on average over all rows given."""
    side = SIGNS[dictionary.sign]
    if dictionary.threshold is not None:
        return side.kept(h).where(side.rank(h) > dictionary.threshold, 0)
    if dictionary.k is None:
        return side.kept(h)
    rows = h.numel() // h.shape[-1]
    return _keep_ranked(h.flatten(), side, dictionary.k * rows).view_as(h)


def _above_threshold(dictionary: SparseDictionary, h: Tensor) -> Tensor:
    h = h.relu()
    return h if dictionary.threshold is None else h.where(h > dictionary.threshold, 0)


def _gated(dictionary: SparseDictionary, h: Tensor) -> Tensor:
    """Where the gate's h is positive, relu((h - b_enc) * exp(r_mag) + b_mag); arXiv 2404.16014."""
    gate = dictionary.gate
    if gate is None:
        return h.relu()
    size = ((h - dictionary.b_enc) * gate.r_mag.exp() + gate.b_mag).relu()
    return size.where(h > 0, 0)


ARCHITECTURES: dict[str, Variant] = {
    "topk": Variant(_topk, needs="k"),
    "batchtopk": Variant(_batchtopk, needs="threshold"),
    "relu": Variant(lambda _, h: h.relu()),
    "jumprelu": Variant(_above_threshold, needs="threshold", many_thresholds=True),
    "gated": Variant(_gated, needs="gate"),
}

if TYPE_CHECKING:
    Architecture = str
    Sign = str
else:
    Architecture = Literal[tuple(ARCHITECTURES)]
    Sign = Literal[tuple(SIGNS)]
