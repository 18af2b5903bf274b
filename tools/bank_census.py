"""How often each prompt of a bank's segments was drawn, by the prompt's number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tools.bank_columns import Longs
from tools.bank_prompts import Prompts
from tools.bank_row import prompt_head
from tools.bank_segment import Segment

BLOCK = 2**20
FIRST_DRAWN = 2**13
"""Most drawn prompts that are put in order at first; more only where a feature fires on so many."""


class Census:
    """The prompts, how many images each has, and which are drawn most."""

    def __init__(self, segments: Sequence[Segment], *, earlier: Census | None = None) -> None:
        self.prompts = Prompts(segments)
        self.rows = sum(len(segment.columns.seed) for segment in segments)
        self.counts: Longs = np.zeros(len(self.prompts), dtype=np.int64)
        """(p,) images of each prompt."""
        known = 0
        if earlier is not None and earlier.rows <= self.rows:
            # The same rows in the same order, whatever merged: only the new ones are counted.
            known = earlier.rows
            self.counts[: len(earlier.counts)] = earlier.counts
        self._count(segments, known)
        self._drawn: Longs = np.empty(0, dtype=np.int64)

    def _count(self, segments: Sequence[Segment], known: int) -> None:
        base = 0
        for segment in segments:
            prompts = segment.columns.prompt
            for start in range(max(0, known - base), len(prompts), BLOCK):
                np.add.at(self.counts, prompts[start : start + BLOCK], 1)
            base += len(prompts)

    def most_drawn(self) -> Iterator[Longs]:
        """All prompt numbers, the most drawn first and then by hash, in pieces."""
        start, wanted, total = 0, FIRST_DRAWN, len(self.counts)
        while start < total:
            if len(self._drawn) < min(wanted, total):
                self._drawn = self._order(min(wanted, total))
            yield self._drawn[start:]
            start, wanted = len(self._drawn), 8 * len(self._drawn)

    def _order(self, wanted: int) -> Longs:
        counts, heads = self.counts, self.prompts.heads()
        least = np.partition(counts, len(counts) - wanted)[len(counts) - wanted]
        more, tied = np.flatnonzero(counts > least), np.flatnonzero(counts == least)
        kept = np.argpartition(heads[tied], wanted - len(more) - 1)[: wanted - len(more)]
        chosen = np.concatenate([more, tied[kept]])
        order: Longs = chosen[np.lexsort((heads[chosen], -counts[chosen]))]
        return order


def drawn_key(prompt: str, count: int) -> tuple[int, int]:
    """Sorts as ``most_drawn`` orders."""
    return -count, prompt_head(prompt)
