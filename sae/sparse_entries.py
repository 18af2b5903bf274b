"""The active entries of a batch of codes, and the products that touch nothing else.

Rows of weights are summed as bags of embeddings are: one call, no dense code, on every device.
"""

from __future__ import annotations

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
    """(b, d) sums of (F, d) rows, each times the value of its entry.

    The gradient of a value is the product of its direction with the gradient of its row.
    """
    return F.embedding_bag(
        entries.columns,
        directions,
        entries.starts,
        mode="sum",
        per_sample_weights=entries.values,
        include_last_offset=True,
    )


def sum_rows_(into: Tensor, where: ByFeature, weights: Tensor, *, rows: Tensor) -> None:
    """Set (F, d) ``into`` to the codes' transpose times (b, d) rows, (n,) weights in place of the values."""
    weights = weights[where.order]
    block = BLOCK if into.device.type == "cpu" else len(into)
    edges = where.starts[::block].tolist()
    for number, begun in enumerate(edges):
        features = slice(number * block, (number + 1) * block)
        ended = edges[number + 1] if number + 1 < len(edges) else len(weights)
        starts = where.starts[features.start : features.stop + 1] - begun
        if len(starts) > 1:
            bags = Entries(starts, where.rows[begun:ended], weights[begun:ended])
            into[features] = decode(bags, rows)


def _starts(groups: Tensor, count: int) -> Tensor:
    counts = torch.bincount(groups, minlength=count)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
