"""The active entries of a batch of codes, and the products that touch nothing else.

Rows of weights are summed as bags of embeddings are: one call, no dense code, on every device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 1024
"""Features whose gradients are summed at once on a CPU: few enough to stay in its cache."""


class Entries(NamedTuple):
    """Where (b, F) codes are active, row after row."""

    starts: Tensor
    """(b + 1,) int64; row i holds entries starts[i] to starts[i + 1]."""
    columns: Tensor
    """(n,) int64"""
    values: Tensor
    """(n,)"""


class ByFeature(NamedTuple):
    """The same entries, feature after feature."""

    starts: Tensor
    """(F + 1,) int64"""
    rows: Tensor
    """(n,) int64"""
    order: Tensor
    """(n,) int64 which of the entries each is."""


def of_top(values: Tensor, indices: Tensor) -> Entries:
    """(b, k) values and their columns as entries; those of 0 or less stay, with value 0."""
    b, k = values.shape
    starts = torch.arange(0, b * k + 1, max(k, 1), device=values.device)
    return Entries(starts, indices.flatten(), values.relu().flatten())


def of_positions(positions: Tensor, values: Tensor, *, shape: tuple[int, int]) -> Entries:
    """(n,) rising positions in row-major order and their values as entries of a (b, F) code."""
    rows = positions // shape[1]
    return Entries(_starts(rows, shape[0]), positions - rows * shape[1], values)


def rows_of(entries: Entries) -> Tensor:
    """(n,) int64 the row of each entry."""
    counts = entries.starts.diff()
    return torch.arange(len(counts), device=counts.device).repeat_interleave(counts)


def by_feature(entries: Entries, n_features: int) -> ByFeature:
    """The entries sorted by feature, rows rising within each."""
    order = torch.argsort(entries.columns, stable=True)
    return ByFeature(_starts(entries.columns, n_features), rows_of(entries)[order], order)


def decode(entries: Entries, directions: Tensor) -> Tensor:
    """(b, d) sums of (F, d) rows, each times the value of its entry."""
    return F.embedding_bag(
        entries.columns,
        directions,
        entries.starts,
        mode="sum",
        per_sample_weights=entries.values,
        include_last_offset=True,
    )


def sum_rows_(into: Tensor, where: ByFeature, weights: Tensor, *, rows: Tensor) -> None:
    """Set (F, d) ``into`` to the sums over each feature's entries of weight times (b, d) row.

    ``weights``: (n,) feature after feature.
    """
    for block in _blocks(where, weights, device=into.device):
        into[block.features] = decode(block.bags, rows)


def sum_rows_and_dot_(into: Tensor, where: ByFeature, weights: Tensor, *, rows: Tensor, by: Tensor) -> Tensor:
    """The same, and (n,) products of each entry's row with its feature's of (F, d) ``by``.

    They are what bags of embeddings pass on to their weights. Features one after another, so that what is
    gathered are the batch's rows, which the processor's cache can hold.
    """
    dots = [weights[:0]]
    for block in _blocks(where, weights, device=into.device):
        with torch.enable_grad():
            asked = block.bags.values.detach().requires_grad_()
            summed = decode(block.bags._replace(values=asked), rows)
            dots += torch.autograd.grad(summed, asked, by[block.features])
        into[block.features] = summed.detach()
    return torch.cat(dots)


class _Block(NamedTuple):
    features: slice
    bags: Entries
    """Bags are features and columns rows of the batch."""


def _blocks(where: ByFeature, weights: Tensor, *, device: torch.device) -> Iterator[_Block]:
    n_features = len(where.starts) - 1
    size = BLOCK if device.type == "cpu" else n_features
    for first in range(0, n_features, size):
        starts = where.starts[first : first + size + 1]
        begun, ended = int(starts[0]), int(starts[-1])
        bags = Entries(starts - begun, where.rows[begun:ended], weights[begun:ended])
        yield _Block(slice(first, first + size), bags)


def _starts(groups: Tensor, count: int) -> Tensor:
    counts = torch.bincount(groups, minlength=count)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
