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
    """Pre-activations (..., F) to activations."""
    needs: Literal["k", "threshold"] | None = None
    """What its dictionaries must have."""
    many_thresholds: bool = False
    """Whether the threshold is each feature's own, (F,), and not one number."""


def keep_top(h: Tensor, k: int) -> Tensor:
    """Zero all but the k highest of each row of (..., F); k is at most F."""
    import torch

    top = h.topk(min(k, h.shape[-1]), dim=-1, sorted=False)
    return torch.zeros_like(h).scatter(-1, top.indices, top.values)


def _topk(dictionary: SparseDictionary, h: Tensor) -> Tensor:
    return keep_top(h.relu(), dictionary.k or 0)


def _above_threshold(dictionary: SparseDictionary, h: Tensor) -> Tensor:
    h = h.relu()
    return h if dictionary.threshold is None else h.where(h > dictionary.threshold, 0)


ARCHITECTURES: dict[str, Variant] = {
    "topk": Variant(_topk, needs="k"),
    "batchtopk": Variant(_above_threshold, needs="threshold"),
    "relu": Variant(lambda _, h: h.relu()),
    "jumprelu": Variant(_above_threshold, needs="threshold", many_thresholds=True),
}

if TYPE_CHECKING:
    Architecture = str
else:
    Architecture = Literal[tuple(ARCHITECTURES)]
