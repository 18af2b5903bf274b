"""The bank: every image drawn by searches, its prompt, and what every feature did on it.

Exact to the fingerprints of the scorer and the generator. The judge's images lie in a sealed partition of
their own: they are refused here, by their seeds, so nothing can read them from here. New images are in Redis,
where every process sees them at once; thousands of them together become a segment, columns on the disk.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tools.bank_census import Census
from tools.bank_compaction import Compaction, Shelf
from tools.bank_manifest import LARGEST_ROWS
from tools.bank_place import place_of
from tools.bank_row import IMAGE_BYTES, SEALED_FROM, BankRow, pack
from tools.bank_tail import PAGE, Added, Tail
from tools.bank_view import PromptResponse, View
from tools.claims import Claims
from tools.digest import digest
from tools.errors import DependencyError
from tools.protocols import Floats, Ints

if TYPE_CHECKING:
    import redis

__all__ = ["SEALED_FROM", "Bank", "BankRow", "BankSize", "PromptFiring", "PromptResponse"]

log = logging.getLogger(__name__)

COMPACT_FROM = 4096
"""Rows of the tail from which the process that adds one more compacts."""
AUTOMATIC_ROWS = 2**19
"""An automatic compaction merges into segments of at most so many rows, in seconds; ``compact`` goes on."""


class PromptFiring(NamedTuple):
    """What a feature did on the images of one prompt."""

    prompt: str
    activation: float
    """Mean over the prompt's images in the bank."""
    n: int
    """Images of the prompt in the bank."""


class BankSize(NamedTuple):
    """How much a bank holds."""

    rows: int
    """Images, those of the tail included."""
    tail: int
    """Images that are in Redis alone."""
    prompts: int
    segments: int
    bytes: int
    """Of the segments' files."""


class Bank:
    """The images of one generator as one scorer sees them. Threads may share it."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        score: str,
        generator: str,
        folder: str | Path,
        compact_from: int | None = COMPACT_FROM,
    ) -> None:
        """``folder``: path or fsspec URL of the segments, one for all processes that share the Redis.

        ``compact_from``: rows of the tail from which ``add`` compacts; None leaves it to ``compact``.
        """
        self.name = digest(score=score, generator=generator)
        self._tail = Tail(client, score=score, generator=generator)
        self._shelf = Shelf(self._tail, place_of(folder, self.name))
        self._claims = Claims(client, "bank")
        self._compact_from = compact_from
        self._lock = Lock()
        self._held: View | None = None

    def add(self, rows: Iterable[BankRow]) -> int:
        """Bank images that are new; how many were. ValueError, and nothing is banked, for a sealed seed.

        They are durable, and in every process's bank, when this returns.
        """
        packed = [pack(row) for row in rows]
        pages = [self._add(packed[start : start + PAGE]) for start in range(0, len(packed), PAGE)]
        if pages and self._compact_from is not None and pages[-1].tail >= self._compact_from:
            self._compact_quietly()
        return sum(page.new for page in pages)

    def row(self, image: str) -> BankRow | None:
        """What is banked of an image; None where it is not."""
        with self._lock:
            return self._view().row(image)

    def prompts_that_fire(self, index: int, *, top: int) -> list[PromptFiring]:
        """The ``top`` prompts of any run with the highest mean activation above 0, highest first."""
        found = [(each, each.mean) for each in self.responses(index, top=top, quiet=0)]
        return [PromptFiring(each.prompt, mean, each.n) for each, mean in found if mean > 0]

    def responses(self, index: int, *, top: int = 400, quiet: int = 400) -> list[PromptResponse]:
        """The ``top`` prompts by mean activation of a feature, then ``quiet`` on which it was never but 0.

        Of the first, ties are by text. Of the others the most drawn; where that leaves a choice, a hash of
        their texts makes it, the same one always: the beginning of the alphabet would be no fair sample.
        """
        with self._lock:
            return self._view().responses(index, top=top, quiet=quiet)

    def n_firing(self, threshold: Floats) -> Ints:
        """(F,) images whose activation exceeds their feature's threshold (F,), all of which are at least 0.

        Reads every entry of the bank. ValueError for a negative threshold or one for too few features.
        """
        if len(threshold) and not threshold.min() >= 0:
            raise ValueError(f"A threshold is {threshold.min()}: give numbers of 0 or above.")
        with self._lock:
            view = self._view()
        try:
            return view.firing(threshold).astype(np.int32)
        except IndexError as error:
            raise ValueError(f"The bank knows features beyond the {len(threshold)} thresholds.") from error

    def describe(self) -> BankSize:
        """How much it holds."""
        with self._lock:
            view = self._view()
            entries = view.manifest.entries
            tail, size = len(view.fresh), sum(entry.bytes for entry in entries)
            return BankSize(len(view), tail, view.fresh.prompts, len(entries), size)

    def compact(self, *, whole: bool = False) -> bool:
        """Move the tail into a segment and merge the segments that are due; with ``whole`` all of them.

        False, and nothing done, while another process is at it. DependencyError where the disk is full.
        """
        return self._compact(LARGEST_ROWS, whole=whole)

    def __len__(self) -> int:
        with self._lock:
            return len(self._view())

    def _add(self, packed: list[bytes]) -> Added:
        images = [data[:IMAGE_BYTES] for data in packed]
        added: Added | None = None
        with self._lock:
            view = self._view() if self._held is None else self._held
            while added is None:
                # Segments are looked through here, the tail by the script that adds.
                new = [data for data, old in zip(packed, view.holds(images), strict=True) if not old]
                added = self._tail.add(view.manifest.generation, new)
                view = view if added is not None else self._view()
        return added

    def _view(self) -> View:
        """The bank now."""
        held = self._held
        generation = "" if held is None else held.manifest.generation
        while True:
            have = 0 if held is None else len(held.fresh)
            manifest, segments, rows = self._shelf.read(generation, have)
            if held is None or manifest.generation != generation:
                goes_on = held is not None and held.manifest.origin == manifest.origin
                census = Census(segments, earlier=held.census if held is not None and goes_on else None)
                held, generation = View(manifest, segments, census=census), manifest.generation
            held.fresh.extend(rows)
            self._held = held
            if len(rows) < PAGE:
                return held

    def _compact(self, most_rows: int, *, whole: bool) -> bool:
        with self._claims.taken([self.name]) as ours:
            if ours:
                Compaction(self._shelf, most_rows=most_rows).run(whole=whole)
        return bool(ours)

    def _compact_quietly(self) -> None:
        try:
            self._compact(AUTOMATIC_ROWS, whole=False)
        except DependencyError as error:
            # What was added is safe; it is tried again when there is twice as much.
            log.warning("%s", error)
            self._compact_from = 2 * (self._compact_from or COMPACT_FROM)
