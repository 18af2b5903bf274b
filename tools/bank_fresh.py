"""The tail of a bank as one process has read it so far, ready to be asked about features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tools.bank_census import Census
from tools.bank_columns import Floats, Longs
from tools.bank_row import BankRow, unpack

CHUNKS = 32
"""Pieces that are looked through one by one before they are joined."""


class _Chunk(NamedTuple):
    """The entries of some rows."""

    feature: Longs
    value: Floats
    number: Longs
    """Of the entry's prompt."""


class Fresh:
    """Rows of the tail, in the order they came. Prompts new to the bank are numbered on from the census's."""

    def __init__(self, census: Census) -> None:
        self._census, self._known = census, len(census.prompts)
        self._chunks: list[_Chunk] = []
        self._numbers: dict[str, int] = {}
        self._new: list[str] = []
        self._at: dict[str, int] = {}
        self._packed: list[bytes] = []
        self.counts: Counter[int] = Counter()
        """Rows of the tail by the number of their prompt."""

    def __len__(self) -> int:
        return len(self._packed)

    def extend(self, packed: Sequence[bytes]) -> None:
        """More rows."""
        rows = [unpack(data) for data in packed]
        if not rows:
            return
        self._number(rows)
        numbers = np.array([self._numbers[row.prompt] for row in rows])
        self.counts.update(numbers.tolist())
        self._at |= {row.image: len(self) + at for at, row in enumerate(rows)}
        self._packed += packed
        widths = [len(row.code.indices) for row in rows]
        features = np.concatenate([row.code.indices for row in rows]).astype(np.int64)
        values = np.concatenate([row.code.values for row in rows])
        self._chunks.append(_Chunk(features, values, np.repeat(numbers, widths)))
        if len(self._chunks) > CHUNKS:
            self._chunks = [_Chunk(*(np.concatenate(each) for each in zip(*self._chunks, strict=True)))]

    def row(self, image: str) -> BankRow | None:
        """None where it is not in the tail."""
        at = self._at.get(image)
        return None if at is None else unpack(self._packed[at])

    def column(self, index: int) -> tuple[Longs, Floats]:
        """Prompt numbers and activations of the rows on which a feature is not 0."""
        hits = [np.flatnonzero(chunk.feature == index) for chunk in self._chunks]
        numbers = [chunk.number[hit] for chunk, hit in zip(self._chunks, hits, strict=True)]
        values = [chunk.value[hit] for chunk, hit in zip(self._chunks, hits, strict=True)]
        return np.concatenate([np.empty(0, np.int64), *numbers]), np.concatenate(
            [np.empty(0, np.float32), *values]
        )

    def firing(self, threshold: Floats) -> Longs:
        """(F,) rows whose activation exceeds the threshold of each feature; IndexError beyond F."""
        counts = np.zeros(len(threshold), dtype=np.int64)
        for chunk in self._chunks:
            over = chunk.value > threshold[chunk.feature]
            counts += np.bincount(chunk.feature[over], minlength=len(threshold))
        return counts

    def count(self, number: int) -> int:
        """Images of a prompt, in segments and tail."""
        drawn = int(self._census.counts[number]) if number < self._known else 0
        return drawn + self.counts[number]

    def text(self, number: int) -> str:
        """The prompt with a number."""
        known = self._known
        return self._census.prompts.text(number) if number < known else self._new[number - known]

    @property
    def prompts(self) -> int:
        """In segments and tail."""
        return self._known + len(self._new)

    def _number(self, rows: Sequence[BankRow]) -> None:
        unseen = list(dict.fromkeys(row.prompt for row in rows if row.prompt not in self._numbers))
        for prompt, number in zip(unseen, self._census.prompts.find(unseen).tolist(), strict=True):
            if number < 0:
                number = self.prompts
                self._new.append(prompt)
            self._numbers[prompt] = number
