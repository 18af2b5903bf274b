"""Moving a bank's tail into segments, and segments into fewer. No kill at any moment loses or doubles a row.

The files of a segment are on the disk before one script makes it live and takes its rows from the tail.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock

import numpy as np

from tools.bank_manifest import Manifest, SegmentEntry, all_due, due
from tools.bank_merge import merge
from tools.bank_place import Place
from tools.bank_prompts import Prompts
from tools.bank_row import IMAGE_BYTES, unpack
from tools.bank_segment import Batch, Segment, columns_of, write_columns
from tools.bank_tail import PAGE, Swap, Tail
from tools.errors import DependencyError, IntegrityError

CHUNK = 2**16
"""Rows of the tail that are taken into one segment."""
_TRIES = 5


class Shelf:
    """Opened segments by name. What is open stays readable, though its files be deleted."""

    def __init__(self, tail: Tail, place: Place) -> None:
        self.tail, self.place = tail, place
        self._open: dict[str, Segment] = {}
        self._lock = Lock()

    def read(self, generation: str, have: int) -> tuple[Manifest, list[Segment], list[bytes]]:
        """The manifest, its segments, and the first page of the tail that follows ``have``.

        IntegrityError where a live segment is not in this place.
        """
        missing: object = None
        for _ in range(_TRIES):
            manifest, rows = self.tail.read(generation, have)
            try:
                return manifest, self.opened(manifest.entries), rows
            except FileNotFoundError as error:
                # It may have been merged, and deleted since the manifest was read.
                missing = error.filename or error
        raise IntegrityError(
            f"Segment {missing} of the bank is gone: give all processes that share a Redis one bank folder, "
            f"restore the segment, or delete the Redis key {self.tail.manifest_key} to begin a new bank."
        )

    def opened(self, entries: Sequence[SegmentEntry]) -> list[Segment]:
        """The segments of a manifest; others are closed. FileNotFoundError where one is gone."""
        with self._lock:
            has_all = all(entry.name in self._open for entry in entries)
            self._open = {entry.name: self._segment(entry.name) for entry in entries}
            if not has_all:
                self.place.tidy(self._open.keys())
            return list(self._open.values())

    def _segment(self, name: str) -> Segment:
        known = self._open.get(name)
        return known if known is not None else Segment.open(self.place.folder(name), name)


class Compaction:
    """One pass over a bank, by a process that has claimed it."""

    def __init__(self, shelf: Shelf, *, most_rows: int, chunk: int = CHUNK) -> None:
        self._shelf, self._tail, self._place = shelf, shelf.tail, shelf.place
        self._most_rows, self._chunk = most_rows, chunk

    def run(self, *, whole: bool) -> None:
        """The tail, then merges: those that are due, or all there can be; then files nobody needs."""
        while self._take_tail():
            pass
        choose = all_due if whole else due
        while (
            group := choose((manifest := self._manifest()).entries, most_rows=self._most_rows)
        ) is not None:
            if not self._merge(manifest, group):
                break
        self._sweep()

    def _manifest(self) -> Manifest:
        return self._tail.read("", 0, most=1).manifest

    def _take_tail(self) -> bool:
        """Whether there may be more."""
        manifest, segments, rows = self._shelf.read("", 0)
        while rows and len(rows) % PAGE == 0 and len(rows) < self._chunk:
            page = self._tail.read(manifest.generation, len(rows))
            if page.manifest.generation != manifest.generation:
                return True
            if not page.rows:
                break
            rows += page.rows
        if not rows:
            return False
        columns = columns_of(batch_of(rows, Prompts(segments)))
        after = len(manifest.entries)
        made = self._replace(
            lambda folder: write_columns(columns, folder), manifest, slice(after, after), taken=len(rows)
        )
        return made and len(rows) >= self._chunk

    def _merge(self, manifest: Manifest, group: slice) -> bool:
        segments = self._shelf.opened(manifest.entries)[group]
        return self._replace(lambda folder: merge(segments, folder), manifest, group)

    def _replace(
        self,
        write: Callable[[Path], SegmentEntry],
        manifest: Manifest,
        replaced: slice,
        *,
        taken: int = 0,
    ) -> bool:
        with _explained(), self._place.draft() as folder:
            entry = write(folder)
            self._tail.announce(entry.name)
            self._place.publish(folder, entry.name)
            self._tail.announce(entry.name)
        return self._tail.swap(Swap(manifest, entry, replaced, taken))

    def _sweep(self) -> None:
        gone = self._tail.retired()
        for name in gone:
            self._place.delete(name)
        self._tail.forget(gone)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DependencyError(
            f"The bank cannot write a segment ({error.strerror or error}): make room; its images are safe "
            "in Redis meanwhile."
        ) from error


def batch_of(packed: Sequence[bytes], prompts: Prompts) -> Batch:
    """Rows of the tail side by side, those of a prompt together."""
    rows = [unpack(data) for data in packed]
    texts = list(dict.fromkeys(row.prompt for row in rows))
    numbers = dict(zip(texts, prompts.find(texts).tolist(), strict=True))
    new = [text for text in texts if numbers[text] < 0]
    numbers |= {text: len(prompts) + at for at, text in enumerate(new)}
    rows.sort(key=lambda row: numbers[row.prompt])
    ids = b"".join(bytes.fromhex(row.image) for row in rows)
    return Batch(
        image=np.frombuffer(ids, dtype=np.uint8).reshape(-1, IMAGE_BYTES),
        seed=np.array([row.seed for row in rows], dtype=np.uint32),
        prompt=np.array([numbers[row.prompt] for row in rows], dtype=np.uint32),
        row=np.repeat(np.arange(len(rows), dtype=np.uint32), [len(row.code.indices) for row in rows]),
        feature=np.concatenate([row.code.indices for row in rows]).astype(np.uint32),
        value=np.concatenate([row.code.values for row in rows]).astype(np.float32),
        prompts=new,
    )
