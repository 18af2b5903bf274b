"""Rows of activations wherever they lie: on disk in any layout, or made by a backbone when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int64]


class Span(NamedTuple):
    """Some consecutive rows of one piece."""

    piece: int
    start: int
    stop: int


class RowSource(Protocol):
    """(n, d) rows in pieces (shards, files, images), in a fixed order."""

    @property
    def width(self) -> int:
        """d of every row."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the rows as they lie there."""
        ...

    @property
    def pieces(self) -> Ints:
        """Rows of each piece, in order."""
        ...

    def read(self, spans: Sequence[Span], out: Tensor) -> None:
        """Fill (n, d) ``out``, of this dtype, with the rows of the spans, one after another."""
        ...


class Blocks:
    """A source's rows cut into blocks of consecutive ones, none across two pieces."""

    def __init__(self, pieces: Ints, block_rows: int) -> None:
        self._pieces, self._rows = pieces, block_rows
        counts = -(-pieces // block_rows)
        self._first = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self) -> int:
        return int(self._first[-1])

    def sizes(self, blocks: Ints) -> Ints:
        """Rows of each of some blocks."""
        piece, start = self._places(blocks)
        sizes: Ints = np.minimum(self._rows, self._pieces[piece] - start)
        return sizes

    def spans(self, blocks: Ints) -> list[Span]:
        """Where the rows of some blocks are."""
        piece, start = self._places(blocks)
        stop = np.minimum(start + self._rows, self._pieces[piece])
        return [Span(*each) for each in zip(piece.tolist(), start.tolist(), stop.tolist(), strict=True)]

    def _places(self, blocks: Ints) -> tuple[Ints, Ints]:
        piece = np.searchsorted(self._first, blocks, side="right") - 1
        return piece, (blocks - self._first[piece]) * self._rows


def spans_between(pieces: Ints, start: int, stop: int) -> Iterator[Span]:
    """Where rows ``start`` to ``stop`` of all are."""
    ends = np.cumsum(pieces)
    piece = int(np.searchsorted(ends, start, side="right"))
    while start < stop:
        first = int(ends[piece] - pieces[piece])
        end = min(stop, int(ends[piece]))
        if end > start:
            yield Span(piece, start - first, end - first)
        start, piece = end, piece + 1


def read_range(source: RowSource, start: int, stop: int) -> Tensor:
    """(stop - start, d) consecutive rows in the source's dtype."""
    out = torch.empty(stop - start, source.width, dtype=source.dtype)
    source.read(list(spans_between(source.pieces, start, stop)), out)
    return out
