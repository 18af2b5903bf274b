"""Reading rows shuffled at the speed of reading them in order, and exactly from any batch on.

An epoch permutes blocks of consecutive rows, reads a window of hundreds of them in the order in which they
lie, and permutes the window's rows. A source that fits into one window is shuffled uniformly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae.errors import BadStore
from sae.store.ahead import ahead
from sae.store.rows import Blocks, Ints, RowSource, read_range

BLOCK_BYTES = 256 * 2**10
WINDOW_BYTES = 256 * 2**20


class _Window(NamedTuple):
    """Some blocks of one epoch, in the order in which they lie, and how their rows are to be permuted."""

    blocks: Ints
    seed: int
    passed: int = 0
    """Rows of the permuted window that are not read again."""


@dataclass(frozen=True)
class RowStream:
    """The rows of a source as batches; implements ActivationStream. BadStore for a source without rows."""

    source: RowSource
    block_rows: int | None = None
    """Consecutive rows read together; None: 256 KiB of them."""
    window_rows: int | None = None
    """Rows shuffled among each other, which lie in memory; None: 256 MiB of them."""
    dtype: torch.dtype | None = torch.float32
    """Of the batches; None: as the source has them."""
    prefetch: int = 0
    """Batches that a thread reads in advance."""

    def __post_init__(self) -> None:
        if not self.rows:
            raise BadStore("There are no activations to read; extract some first.")

    @property
    def width(self) -> int:
        return self.source.width

    @cached_property
    def rows(self) -> int:
        return int(self.source.pieces.sum())

    def batches(self, batch_size: int, *, seed: int, start: int = 0) -> Iterator[Tensor]:
        """(batch_size, d) batches without end, all full, the first of them being batch ``start``.

        Every epoch has an order of its own; a batch runs over the end of one into the next.
        """
        made = self._batches(batch_size, seed=seed, start=start)
        return ahead(made, self.prefetch) if self.prefetch else made

    def once(self, batch_size: int) -> Iterator[Tensor]:
        """(b, d) batches of every row once, in the order in which they lie; the last may be shorter."""
        for start in range(0, self.rows, batch_size):
            yield self._cast(read_range(self.source, start, min(self.rows, start + batch_size)))

    def _batches(self, batch_size: int, *, seed: int, start: int) -> Iterator[Tensor]:
        left: list[Tensor] = []
        wanted = batch_size
        for rows, order in self._shuffled(start * batch_size, seed=seed):
            at = 0
            while at < len(order):
                part = rows.index_select(0, order[at : at + wanted])
                at, wanted = at + len(part), wanted - len(part)
                left.append(part)
                if not wanted:
                    yield self._cast(left[0] if len(left) == 1 else torch.cat(left))
                    left, wanted = [], batch_size

    def _shuffled(self, passed: int, *, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows of each window and the order in which they come, from row ``passed`` of all epochs on."""
        space = torch.empty(0, self.width, dtype=self.source.dtype)
        held: Ints | None = None
        for window in self._windows(passed, seed=seed):
            size = int(self._blocks.sizes(window.blocks).sum())
            # One buffer for all windows: fresh memory is slower than the copy itself.
            space = space if len(space) >= size else torch.empty(size, self.width, dtype=space.dtype)
            if held is None or not np.array_equal(held, window.blocks):
                self.source.read(self._blocks.spans(window.blocks), space[:size])
                held = window.blocks
            order = torch.randperm(size, generator=torch.Generator().manual_seed(window.seed))
            yield space[:size], order[window.passed :]

    def _windows(self, passed: int, *, seed: int) -> Iterator[_Window]:
        epoch, passed = divmod(passed, self.rows)
        while True:
            order = np.random.default_rng([seed, epoch]).permutation(len(self._blocks))
            parts = (np.array_split(each, self._n_windows) for each in (order, self._blocks.sizes(order)))
            first = 0
            for number, (blocks, sizes) in enumerate(zip(*parts, strict=True)):
                end = first + int(sizes.sum())
                if passed < end:
                    mixed = np.random.SeedSequence([seed, epoch, number]).generate_state(1, np.uint64)[0]
                    yield _Window(np.sort(blocks), int(mixed >> 1), max(0, passed - first))
                first = end
            epoch, passed = epoch + 1, 0

    @cached_property
    def _blocks(self) -> Blocks:
        return Blocks(self.source.pieces, self.block_rows or max(1, BLOCK_BYTES // self._row_bytes))

    @cached_property
    def _n_windows(self) -> int:
        window = self.window_rows or max(1, WINDOW_BYTES // self._row_bytes)
        return min(len(self._blocks), -(-self.rows // window))

    @property
    def _row_bytes(self) -> int:
        return self.width * self.source.dtype.itemsize

    def _cast(self, batch: Tensor) -> Tensor:
        return batch if self.dtype is None else batch.to(self.dtype)
