"""The highest entries of a matrix, exactly, for a fraction of what ranking all of them costs."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

SAMPLE = 1 << 16
"""Entries of a batch that a first guess of its threshold is made on."""


class Top(NamedTuple):
    """The highest entries of each row, in no order; which of several equal ones is left open."""

    values: Tensor
    """(b, k)"""
    indices: Tensor
    """(b, k) int64"""


def topk_codes(h: Tensor, k: int) -> Top:
    """The k highest of each row of (b, F), as ``torch.topk`` finds them; k is cut to F, ReLU is not applied.

    A row is cut into blocks of which only the maxima are compared at first. Of the k blocks with the highest
    maxima each holds an entry that no entry outside of them exceeds: so k of their entries are the row's k
    highest.
    """
    k = min(k, h.shape[1])
    size = _block_size(h.shape[1], k)
    if size == 1:
        return Top(*h.topk(k, dim=1, sorted=False))
    candidates = _candidates(h, k, size)
    values, at = h.gather(1, candidates).topk(k, dim=1, sorted=False)
    return Top(values, candidates.gather(1, at))


def keep_topk(h: Tensor, k: int) -> Tensor:
    """Zero all but the k highest positive entries of each row of contiguous (..., F), which is used up.

    In h's own memory, but where gradients are to pass: those need it as it was.
    """
    rows = h.view(-1, h.shape[-1])
    top = topk_codes(rows, k)
    passes = torch.is_grad_enabled() and h.requires_grad
    kept = torch.zeros_like(rows) if passes else rows.zero_()
    return kept.scatter_(1, top.indices, top.values.relu()).view_as(h)


def batch_top(h: Tensor, count: int) -> Tensor:
    """(n,) rising row-major positions of the ``count`` highest entries of (b, F), positive ones alone.

    A threshold guessed from a sample leaves few candidates; where it leaves too few, all positive ones are.
    """
    flat = h.flatten()
    floor = _guess(flat, count)
    candidates = (flat >= floor).nonzero().flatten() if floor > 0 else flat.new_empty(0, dtype=torch.int64)
    if len(candidates) < count:
        candidates = (flat > 0).nonzero().flatten()
    if len(candidates) <= count:
        return candidates
    kept = flat[candidates].topk(count, sorted=False).indices
    return candidates[kept].sort().values


def _block_size(n_features: int, k: int) -> int:
    """The power of two at most sqrt(F / k), where maxima and candidates are about as many; 1: no blocks."""
    size = 1
    while k > 0 and (2 * size) ** 2 * k <= n_features:
        size *= 2
    return size if size > 2 else 1


def _candidates(h: Tensor, k: int, size: int) -> Tensor:
    """(b, k * size + r) columns: the k best blocks and the r last columns, which fill no block."""
    n_features = h.shape[1]
    blocks = n_features // size
    # A block is every blocks-th entry: maxima over an outer dimension are vectorised.
    maxima = h[:, : blocks * size].view(len(h), size, blocks).amax(1)
    chosen = maxima.topk(k, dim=1, sorted=False).indices
    steps = torch.arange(0, blocks * size, blocks, device=h.device)
    columns = (chosen[:, None, :] + steps[:, None]).flatten(1)
    rest = torch.arange(blocks * size, n_features, device=h.device)
    return torch.cat([columns, rest.expand(len(h), -1)], dim=1) if len(rest) else columns


def _guess(flat: Tensor, count: int) -> float:
    """A value that most likely somewhat more than ``count`` entries reach."""
    sample = flat[:: max(1, len(flat) // SAMPLE)]
    expected = count * len(sample) / max(1, len(flat))
    rank = math.ceil(expected + 4 * math.sqrt(expected) + 4)
    if rank >= len(sample):
        return 0.0
    return float(sample.kthvalue(len(sample) - rank).values)
