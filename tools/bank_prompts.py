"""The prompts of a bank's segments, by the number each got when it was first seen."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from tools.bank_columns import Heads, Longs
from tools.bank_segment import Segment, prompt_heads


class Prompts:
    """Texts and numbers; prompts keep their numbers when segments merge."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._ends = list(accumulate(len(segment.columns.prompt_head) for segment in segments))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def text(self, number: int) -> str:
        """The prompt with a number."""
        at = bisect_right(self._ends, number)
        return self._segments[at].text(number - (self._ends[at - 1] if at else 0))

    def find(self, prompts: Sequence[str]) -> Longs:
        """The number of each prompt, -1 where no segment has it."""
        found, heads = np.full(len(prompts), -1, dtype=np.int64), prompt_heads(prompts)
        base = 0
        for segment in self._segments:
            missing = np.flatnonzero(found < 0)
            places = segment.find_prompts([prompts[at] for at in missing.tolist()], heads[missing])
            found[missing] = np.where(places < 0, -1, places + base)
            base += len(segment.columns.prompt_head)
        return found

    def heads(self) -> Heads:
        """(p,) of all prompts by number."""
        heads = np.empty(len(self), dtype=np.uint64)
        base = 0
        for segment in self._segments:
            heads[base + segment.columns.prompt_place.astype(np.int64)] = segment.columns.prompt_head
            base += len(segment.columns.prompt_head)
        return heads
