"""Neighbouring segments as one, written as a stream: what is in memory does not grow with the bank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sae.column_file import blocks
from tools.bank_columns import Columns, ColumnWriters, Heads, Longs, UInts
from tools.bank_manifest import SegmentEntry
from tools.bank_row import IMAGE_BYTES
from tools.bank_segment import Lengths, Segment, lengths_of, write_card

BLOCK = 2**21
"""Values of each column held at a time."""


class _Aligned(NamedTuple):
    """Where the entries of the features of all sources lie in one of them."""

    columns: Columns
    base: int
    """Rows in the sources before it."""
    starts: Longs
    """(u + 1,)"""


class _Index(NamedTuple):
    """Sorted heads of one source and what they stand for."""

    heads: Heads
    places: UInts
    base: int


def merge(segments: Sequence[Segment], folder: Path, *, block: int = BLOCK) -> SegmentEntry:
    """The segments, which follow one another in the manifest, in an empty folder, durable there.

    ``block``: values of each column held at a time.
    """
    sources = [segment.columns for segment in segments]
    feature = np.unique(np.concatenate([source.feature for source in sources]))
    totals = Lengths(*(sum(each) for each in zip(*map(lengths_of, sources), strict=True)))
    with ColumnWriters(folder, _shapes(sources, totals, features=len(feature))) as writers:
        for name in ("image", "seed", "prompt", "text"):
            for source in sources:
                for piece in _pieces(getattr(source, name), block):
                    writers.append(name, piece)
        _append_starts(writers, sources, block=block)
        bases = _bases([len(source.seed) for source in sources])
        images = [_Index(s.image_head, s.image_row, base) for s, base in zip(sources, bases, strict=True)]
        for heads, places in _merged(images, block=block):
            writers.append("image_head", heads)
            writers.append("image_row", places)
        bases = _bases([len(source.prompt_head) for source in sources])
        prompts = [
            _Index(s.prompt_head, s.prompt_place, base) for s, base in zip(sources, bases, strict=True)
        ]
        for heads, places in _merged(prompts, block=block):
            writers.append("prompt_head", heads)
            writers.append("prompt_place", places)
        _append_entries(writers, sources, feature=feature, block=block)
        files = writers.close()
    return write_card(folder, files, lengths=totals)


def _shapes(sources: Sequence[Columns], totals: Lengths, *, features: int) -> dict[str, tuple[int, ...]]:
    own = {"feature": features, "feature_start": features + 1, "text_start": totals.prompts + 1}
    summed = {name: sum(len(getattr(source, name)) for source in sources) for name in Columns._fields}
    shapes = {name: (length,) for name, length in (summed | own).items()}
    return shapes | {"image": (totals.rows, IMAGE_BYTES)}


def _bases(lengths: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(lengths).tolist()][:-1]


def _pieces(values: npt.NDArray[Any], block: int) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, len(values), block):
        yield values[start : start + block]


def _append_starts(writers: ColumnWriters, sources: Sequence[Columns], *, block: int) -> None:
    base = 0
    for source in sources:
        for piece in _pieces(source.text_start[:-1], block):
            writers.append("text_start", piece + base)
        base += len(source.text)
    writers.append("text_start", np.array([base]))


def _merged(sources: Sequence[_Index], *, block: int) -> Iterator[tuple[Heads, UInts]]:
    """Heads are hashes, so equal ranges of them hold about equally many."""
    total = sum(len(source.heads) for source in sources)
    parts = total // block + 1
    bounds = np.array([2**64 * part // parts for part in range(1, parts)], dtype=np.uint64)
    cuts = [[0, *np.searchsorted(source.heads, bounds).tolist(), len(source.heads)] for source in sources]
    for ranges in zip(*(pairwise(each) for each in cuts), strict=True):
        both = list(zip(sources, ranges, strict=True))
        heads = np.concatenate([source.heads[low:high] for source, (low, high) in both])
        places = np.concatenate(
            [source.places[low:high] + np.uint32(source.base) for source, (low, high) in both]
        )
        order = np.argsort(heads, kind="stable")
        yield heads[order], places[order]


def _append_entries(
    writers: ColumnWriters, sources: Sequence[Columns], *, feature: UInts, block: int
) -> None:
    bases = _bases([len(source.seed) for source in sources])
    aligned = [_aligned(source, base, feature) for source, base in zip(sources, bases, strict=True)]
    starts: Longs = np.sum([each.starts for each in aligned], axis=0)
    writers.append("feature", feature)
    writers.append("feature_start", starts)
    for low, high in blocks(starts, most=block):
        if high - low == 1:
            _append_feature(writers, aligned, at=low, block=block)
        else:
            rows, values = _block(aligned, starts, low=low, high=high)
            writers.append("entry_row", rows)
            writers.append("entry_value", values)


def _aligned(source: Columns, base: int, feature: UInts) -> _Aligned:
    # A feature it does not have begins where its next one does, and so has no entries.
    at = np.searchsorted(source.feature, feature)
    return _Aligned(source, base, np.append(source.feature_start[at], len(source.entry_row)))


def _append_feature(writers: ColumnWriters, aligned: Sequence[_Aligned], *, at: int, block: int) -> None:
    for columns, base, starts in aligned:
        where = slice(starts[at], starts[at + 1])
        for rows in _pieces(columns.entry_row[where], block):
            writers.append("entry_row", rows + np.uint32(base))
        for values in _pieces(columns.entry_value[where], block):
            writers.append("entry_value", values)


def _block(
    aligned: Sequence[_Aligned], starts: Longs, *, low: int, high: int
) -> tuple[UInts, npt.NDArray[np.float32]]:
    """Every source's entries are moved to where its part of each feature begins."""
    total = int(starts[high] - starts[low])
    rows, values = np.empty(total, np.uint32), np.empty(total, np.float32)
    free = starts[low:high] - starts[low]
    for columns, base, own in aligned:
        begin, end = int(own[low]), int(own[high])
        counts = np.diff(own[low : high + 1])
        to = np.arange(end - begin) + np.repeat(free - (own[low:high] - begin), counts)
        rows[to] = columns.entry_row[begin:end] + np.uint32(base)
        values[to] = columns.entry_value[begin:end]
        free = free + counts
    return rows, values
