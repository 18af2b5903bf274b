"""The whole bank as it is at one moment, segments and tail, and what can be asked of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sae.column_file import blocks
from tools.bank_census import Census, drawn_key
from tools.bank_columns import Bytes, Columns, Floats, Heads, Longs
from tools.bank_fresh import Fresh
from tools.bank_manifest import Manifest
from tools.bank_row import IMAGE_BYTES, BankRow
from tools.bank_segment import Segment, image_heads

BLOCK = 2**21
_SLACK = 1e-9
"""Relative: more than a sum of floats is off by the order of its terms."""


class PromptResponse(NamedTuple):
    """What a feature did on the images of one prompt."""

    prompt: str
    n: int
    """Images of the prompt in the bank."""
    activations: tuple[float, ...]
    """Those of its images on which the feature is not 0, highest first; it is 0 on the others."""

    @property
    def mean(self) -> float:
        """Mean activation over all images of the prompt, the same in whatever order they were banked."""
        return math.fsum(self.activations) / self.n


class View:
    """The segments of one manifest, and the tail read so far."""

    def __init__(self, manifest: Manifest, segments: Sequence[Segment], *, census: Census) -> None:
        self.manifest, self.segments, self.census = manifest, segments, census
        self.fresh = Fresh(census)

    def __len__(self) -> int:
        return self.census.rows + len(self.fresh)

    def row(self, image: str) -> BankRow | None:
        """What is banked of an image; None where it is not."""
        if (tailed := self.fresh.row(image)) is not None:
            return tailed
        wanted, heads = _ids([bytes.fromhex(image)])
        for segment in self.segments:
            at = int(segment.find_images(wanted, heads)[0])
            if at >= 0:
                prompt = self.census.prompts.text(int(segment.columns.prompt[at]))
                return BankRow(image, prompt, int(segment.columns.seed[at]), segment.code(at))
        return None

    def holds(self, images: Sequence[bytes]) -> list[bool]:
        """Whether each image is in a segment."""
        found, (wanted, heads) = np.zeros(len(images), dtype=bool), _ids(images)
        for segment in self.segments:
            found |= segment.find_images(wanted, heads) >= 0
        return [bool(each) for each in found]

    def responses(self, index: int, *, top: int, quiet: int) -> list[PromptResponse]:
        """As Bank.responses."""
        numbers, values = self._fired(index)
        order = np.argsort(numbers, kind="stable")
        numbers, values = numbers[order], values[order]
        loud, starts = np.unique(numbers, return_index=True)
        ends = np.append(starts[1:], len(numbers))
        found = []
        for at in self._loudest(loud, values, starts=starts, top=top).tolist():
            activations = np.sort(values[starts[at] : ends[at]])[::-1].tolist()
            found.append(self._response(int(loud[at]), activations))
        found.sort(key=lambda each: (-each.mean, each.prompt))
        silent = [self._response(number, []) for number in self._quietest(loud, quiet)]
        return found[:top] + sorted(silent, key=lambda each: (-each.n, each.prompt))

    def firing(self, threshold: Floats, *, block: int = BLOCK) -> Longs:
        """As Bank.n_firing; ``block``: entries held at a time."""
        counts = self.fresh.firing(threshold)
        for segment in self.segments:
            for low, high in blocks(segment.columns.feature_start, most=block):
                _count_firing(segment.columns, low, high, threshold=threshold, counts=counts)
        return counts

    def _fired(self, index: int) -> tuple[Longs, Floats]:
        """Prompt number and activation of each image on which the feature is not 0."""
        columns = [(segment, *segment.column(index)) for segment in self.segments]
        numbers = [segment.columns.prompt[rows].astype(np.int64) for segment, rows, _ in columns]
        tail_numbers, tail_values = self.fresh.column(index)
        values = [each for _, _, each in columns]
        return np.concatenate([*numbers, tail_numbers]), np.concatenate([*values, tail_values])

    def _loudest(self, loud: Longs, values: Floats, *, starts: Longs, top: int) -> Longs:
        """Where in ``loud`` the prompts of highest mean are, all that tie with the last included."""
        if top <= 0 or not len(loud):
            return np.empty(0, dtype=np.int64)
        means = np.add.reduceat(values.astype(np.float64), starts) / self._counts(loud)
        if len(means) <= top:
            return np.arange(len(means))
        least = np.partition(means, len(means) - top)[len(means) - top]
        return np.flatnonzero(means >= least - abs(least) * _SLACK)

    def _counts(self, numbers: Longs) -> Longs:
        """Images of each prompt; ``numbers`` ascend."""
        counts = np.zeros(len(numbers), dtype=np.int64)
        known = int(np.searchsorted(numbers, len(self.census.prompts)))
        counts[:known] = self.census.counts[numbers[:known]]
        tailed, more = self._tailed()
        at = np.searchsorted(numbers, tailed)
        there = at < len(numbers)
        there[there] = numbers[at[there]] == tailed[there]
        counts[at[there]] += more[there]
        return counts

    def _tailed(self) -> tuple[Longs, Longs]:
        counts = self.fresh.counts
        return np.array(list(counts), dtype=np.int64), np.array(list(counts.values()), dtype=np.int64)

    def _quietest(self, loud: Longs, quiet: int) -> list[int]:
        """Prompts beside ``loud``: the most drawn, and of equally many drawn those that a hash picks."""
        if quiet <= 0:
            return []
        tailed, _ = self._tailed()
        chosen = [int(number) for number in tailed[~_among(tailed, loud)]]
        wanted = quiet + len(chosen)
        apart = np.sort(np.concatenate([loud, tailed]))
        for number in _spared(self.census.most_drawn(), apart):
            if len(chosen) == wanted:
                break
            chosen.append(number)
        if len(tailed):
            chosen.sort(key=lambda number: drawn_key(self.fresh.text(number), self.fresh.count(number)))
        return chosen[:quiet]

    def _response(self, number: int, activations: Sequence[float]) -> PromptResponse:
        return PromptResponse(self.fresh.text(number), self.fresh.count(number), tuple(activations))


def _spared(pieces: Iterator[Longs], apart: Longs) -> Iterator[int]:
    for piece in pieces:
        for start in range(0, len(piece), 1024):
            part = piece[start : start + 1024]
            yield from part[~_among(part, apart)].tolist()


def _ids(images: Sequence[bytes]) -> tuple[Bytes, Heads]:
    ids = np.frombuffer(b"".join(images), dtype=np.uint8).reshape(-1, IMAGE_BYTES)
    return ids, image_heads(ids)


def _among(numbers: Longs, known: Longs) -> npt.NDArray[np.bool_]:
    """Which of the numbers are in ``known``, which ascends."""
    if not len(known):
        return np.zeros(len(numbers), dtype=bool)
    at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    among: npt.NDArray[np.bool_] = known[at] == numbers
    return among


def _count_firing(columns: Columns, low: int, high: int, *, threshold: Floats, counts: Longs) -> None:
    starts, features = columns.feature_start[low : high + 1], columns.feature[low:high]
    if high - low == 1:
        # Maybe more entries than should be held: nothing is made of them but a bit each.
        values = columns.entry_value[starts[0] : starts[1]]
        counts[features[0]] += np.count_nonzero(values > threshold[features[0]])
        return
    bars = np.repeat(threshold[features], np.diff(starts))
    over = columns.entry_value[starts[0] : starts[-1]] > bars
    counts[features] += np.add.reduceat(over, starts[:-1] - starts[0], dtype=np.int64)
