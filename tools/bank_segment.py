"""A segment of the bank: immutable columns in a folder, memory-mapped and read where they are asked for."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sae.feature import Frozen
from sae.whole_file import sync_folder
from tools.bank_columns import (
    Bytes,
    ColumnFile,
    Columns,
    ColumnWriters,
    Floats,
    Heads,
    Longs,
    UInts,
    open_columns,
)
from tools.bank_manifest import SegmentEntry
from tools.bank_row import prompt_head
from tools.errors import IntegrityError
from tools.protocols import SparseCode

CARD = "segment.json"


class SegmentCard(Frozen):
    """What a segment's folder holds; its sha256 is the segment's name."""

    schema_version: int = 1
    files: tuple[ColumnFile, ...]
    nonce: str
    """So that no two segments ever made share a name, whatever they hold."""


class Lengths(NamedTuple):
    """How much a segment holds, as its entry in the manifest says it."""

    rows: int
    prompts: int
    entries: int


class Batch(NamedTuple):
    """Rows to be written, before they are ordered by feature. Prompts are numbered in the whole bank."""

    image: Bytes
    """(n, 32)"""
    seed: UInts
    """(n,)"""
    prompt: UInts
    """(n,)"""
    row: UInts
    """(z,) of the entries, ascending."""
    feature: UInts
    """(z,)"""
    value: Floats
    """(z,)"""
    prompts: Sequence[str]
    """Those that the bank has not had before, in the order of their numbers."""


class Segment:
    """Reads; every array may be one on the disk."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    @classmethod
    def open(cls, folder: Path, name: str) -> Segment:
        """IntegrityError where the folder is not what its name says, FileNotFoundError where it is gone."""
        return cls(open_columns(folder, read_card(folder, name).files))

    def column(self, index: int) -> tuple[UInts, Floats]:
        """Rows on which a feature is not 0, ascending, and its activations there."""
        held = self.columns
        at = int(np.searchsorted(held.feature, np.uint32(index)))
        if at == len(held.feature) or held.feature[at] != index:
            return held.entry_row[:0], held.entry_value[:0]
        where = slice(held.feature_start[at], held.feature_start[at + 1])
        return held.entry_row[where], held.entry_value[where]

    def code(self, row: int) -> SparseCode:
        """All activations of a row, by a search in every feature's entries at once."""
        held = self.columns
        low, end = held.feature_start[:-1].copy(), held.feature_start[1:]
        high = end.copy()
        while (open_ := low < high).any():
            middle = (low + high) // 2
            before = np.zeros_like(open_)
            before[open_] = held.entry_row[middle[open_]] < row
            low, high = np.where(before, middle + 1, low), np.where(open_ & ~before, middle, high)
        at = np.flatnonzero(low < end)
        at = at[held.entry_row[low[at]] == row]
        return SparseCode(held.feature[at].astype(np.int32), held.entry_value[low[at]])

    def text(self, place: int) -> str:
        """A prompt first seen here."""
        held = self.columns
        return held.text[held.text_start[place] : held.text_start[place + 1]].tobytes().decode()

    def find_images(self, images: Bytes, heads: Heads) -> Longs:
        """The row of each image (m, 32), -1 where it is not here; ``heads`` as ``image_heads`` gives them."""
        held = self.columns
        return _found(
            held.image_head,
            held.image_row,
            heads=heads,
            same=lambda row, at: (held.image[row] == images[at]).all(),
        )

    def find_prompts(self, prompts: Sequence[str], heads: Heads) -> Longs:
        """The place of each prompt, -1 where it was not first seen here; ``heads`` as ``prompt_heads``."""
        held = self.columns
        return _found(
            held.prompt_head,
            held.prompt_place,
            heads=heads,
            same=lambda place, at: self.text(place) == prompts[at],
        )


def image_heads(images: Bytes) -> Heads:
    """(m,) by which images (m, 32) are looked up."""
    return np.ascontiguousarray(images[:, :8]).view(">u8").ravel().astype(np.uint64)


def prompt_heads(prompts: Sequence[str]) -> Heads:
    """(m,) by which prompts are looked up."""
    return np.array([prompt_head(prompt) for prompt in prompts], dtype=np.uint64)


def _found(known: Heads, places: UInts, *, heads: Heads, same: Callable[[int, int], bool]) -> Longs:
    found = np.full(len(heads), -1, dtype=np.int64)
    starts, ends = np.searchsorted(known, heads), np.searchsorted(known, heads, side="right")
    for at in np.flatnonzero(starts < ends).tolist():
        for place in places[starts[at] : ends[at]].tolist():
            if same(place, at):
                found[at] = place
    return found


def columns_of(batch: Batch) -> Columns:
    """The batch ordered by feature, all in memory."""
    images, prompts = image_heads(batch.image), prompt_heads(batch.prompts)
    image_order, prompt_order = np.argsort(images, kind="stable"), np.argsort(prompts, kind="stable")
    order = np.argsort(batch.feature, kind="stable")
    feature = batch.feature[order]
    starts = np.flatnonzero(np.diff(feature, prepend=-1))
    texts = [prompt.encode() for prompt in batch.prompts]
    return Columns(
        image=batch.image,
        seed=batch.seed,
        prompt=batch.prompt,
        image_head=images[image_order],
        image_row=image_order.astype(np.uint32),
        feature=feature[starts],
        feature_start=np.append(starts, len(order)).astype(np.int64),
        entry_row=batch.row[order],
        entry_value=batch.value[order],
        prompt_head=prompts[prompt_order],
        prompt_place=prompt_order.astype(np.uint32),
        text_start=np.cumsum([0, *(len(text) for text in texts)], dtype=np.int64),
        text=np.frombuffer(b"".join(texts), dtype=np.uint8),
    )


def write_columns(columns: Columns, folder: Path) -> SegmentEntry:
    """A segment in an empty folder, durable there; what the manifest says of it."""
    with ColumnWriters(folder, {name: values.shape for name, values in columns._asdict().items()}) as writers:
        for name, values in columns._asdict().items():
            writers.append(name, values)
        files = writers.close()
    return write_card(folder, files, lengths=lengths_of(columns))


def lengths_of(columns: Columns) -> Lengths:
    """How much the columns hold."""
    return Lengths(len(columns.seed), len(columns.prompt_head), len(columns.entry_row))


def write_card(folder: Path, files: Sequence[ColumnFile], *, lengths: Lengths) -> SegmentEntry:
    """The card, written last, and the folder with it."""
    data = SegmentCard(files=tuple(files), nonce=secrets.token_hex(16)).model_dump_json().encode()
    with (folder / CARD).open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)
    size = len(data) + sum(file.bytes for file in files)
    return SegmentEntry(name=hashlib.sha256(data).hexdigest(), bytes=size, **lengths._asdict())


def read_card(folder: Path, name: str) -> SegmentCard:
    """IntegrityError where the card is not the one that the name is the sha256 of."""
    data = (folder / CARD).read_bytes()
    if hashlib.sha256(data).hexdigest() != name:
        raise IntegrityError(f"{folder / CARD} is not what its name says: restore it from a copy.")
    return SegmentCard.model_validate_json(data)
