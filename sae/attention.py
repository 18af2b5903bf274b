"""The attention probabilities of every block, attached to the graph, whatever kernel computes them.

Fused kernels never form the probabilities. While recording, calls of such kernels inside a block are answered
by the explicit formula softmax(q k' / sqrt(d)) v; no class and no setting of a model is changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from sae.errors import NoAttention
from sae.hooks import first_tensor

_FORMULAS = {functional.softmax, torch.softmax, Tensor.softmax}
_PACKED = inspect.signature(functional.multi_head_attention_forward)


class Attentions(TorchFunctionMode):
    """The probabilities of the latest pass."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self._numbers = {block: number for number, block in enumerate(blocks)}
        self._thread = get_ident()
        self._inside: int | None = None
        self._sizes: tuple[int, ...] = ()
        self._found: dict[int, Tensor] = {}
        self._ran: set[int] = set()

    @property
    def maps(self) -> tuple[Tensor, ...]:
        """(b, heads, p, p) of each block that ran, in order; rows are queries and add up to 1.

        The very tensors the values were weighted by, so ``torch.autograd.grad(y, maps)`` has gradients.
        NoAttention where a block has no attention over all tokens, as in a network of convolutions.
        """
        lacking = sorted(self._ran - self._found.keys())
        if lacking or not self._ran:
            what = f"block.{lacking[0]} attends" if lacking else "no block ran, or none attends"
            raise NoAttention(f"There is no attention map: {what} to no sequence of all tokens.")
        return tuple(self._found[number] for number in sorted(self._found))

    def enter(self, block: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """A block begins."""
        if get_ident() != self._thread:
            return
        x = first_tensor((*inputs, *named.values()))
        self._inside, self._sizes = self._numbers[block], tuple(x.shape[:-1])
        self._ran.add(self._inside)
        self._found.pop(self._inside, None)

    def leave(self, block: nn.Module, inputs: Any, output: Any) -> None:
        """A block ends."""
        if get_ident() == self._thread:
            self._inside = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside is None:
            return func(*args, **kwargs)
        if func is functional.scaled_dot_product_attention:
            return _attend(*args, **kwargs, keep=self._keep)
        if func is functional.multi_head_attention_forward:
            return self._packed(func, _PACKED.bind(*args, **kwargs))
        result = func(*args, **kwargs)
        return self._keep(result) if func in _FORMULAS else result

    def _keep(self, weights: Tensor) -> Tensor:
        """Note the first of a block's that weights all its tokens."""
        if self._inside in self._found or self._inside is None or weights.ndim != 4:
            return weights
        square = weights.shape[2] == weights.shape[3]
        if square and sorted((weights.shape[0], weights.shape[2])) == sorted(self._sizes):
            if torch.is_grad_enabled() and not weights.requires_grad:
                # The model is frozen: without this the first block's would be in no graph.
                weights.requires_grad_()
            self._found[self._inside] = weights
        return weights

    def _packed(self, func: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        """nn.MultiheadAttention. What it returns as weights is a view aside of the graph, so not that."""
        bound.apply_defaults()
        given = bound.arguments
        if given["add_zero_attn"] or given["bias_k"] is not None or given["query"].ndim != 3:
            return func(*bound.args, **bound.kwargs)
        q, k, v = _projected(given)
        weights: list[Tensor] = []

        def keep(found: Tensor) -> Tensor:
            weights.append(self._keep(found))
            return weights[0]

        mixed = _attend(q, k, v, attn_mask=_mask(given, q, k), keep=keep)
        out = functional.linear(
            mixed.permute(2, 0, 1, 3).flatten(2), given["out_proj_weight"], given["out_proj_bias"]
        )
        if not given["need_weights"]:
            return out, None
        return out, weights[0].mean(1) if given["average_attn_weights"] else weights[0]


@contextmanager
def record_attention(blocks: Sequence[nn.Module]) -> Iterator[Attentions]:
    """Record every pass made inside, in this thread; ``backbone.blocks`` are the blocks.

    Maps have a graph where the pass has one: run it by ``backbone.differentiable``.
    """
    attentions = Attentions(blocks)
    handles = []
    try:
        for block in blocks:
            handles.append(block.register_forward_pre_hook(attentions.enter, with_kwargs=True))
            handles.append(block.register_forward_hook(attentions.leave))
        with attentions:
            yield attentions
    finally:
        for handle in handles:
            handle.remove()


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    keep: Callable[[Tensor], Tensor],
) -> Tensor:
    """scaled_dot_product_attention by its formula; dropout is left out, models being in eval mode."""
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (each.repeat_interleave(groups, -3) for each in (key, value))
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    exact = torch.promote_types(scores.dtype, torch.float32)
    return keep(scores.softmax(-1, dtype=exact).to(query.dtype)) @ value


def _projected(given: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Query, key and value (p, b, d) as heads (b, h, p, e)."""
    weights = [given[f"{name}_proj_weight"] for name in "qkv"]
    if not given["use_separate_proj_weight"]:
        weights = given["in_proj_weight"].chunk(3)
    biases = [None] * 3 if given["in_proj_bias"] is None else given["in_proj_bias"].chunk(3)
    inputs = [given[name] for name in ("query", "key", "value")]
    return tuple(
        functional.linear(x, weight, bias).reshape(*x.shape[:2], given["num_heads"], -1).permute(1, 2, 0, 3)
        for x, weight, bias in zip(inputs, weights, biases, strict=True)
    )


def _mask(given: Mapping[str, Any], query: Tensor, key: Tensor) -> Tensor | None:
    """Both masks of nn.MultiheadAttention, where True hides, as one to add."""
    mask, padding = given["attn_mask"], given["key_padding_mask"]
    if mask is not None and mask.ndim == 3:
        mask = mask.reshape(len(query), -1, *mask.shape[1:])
    if padding is not None:
        padding = padding[:, None, None, :]
    masks = [_added(each, query.dtype) for each in (mask, padding) if each is not None]
    return sum(masks[1:], masks[0]) if masks else None


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))
