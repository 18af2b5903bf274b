"""A finished store: opened by its sizes, checked by its sums on request, every row traced to its image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae.errors import BadStore, WrongStore
from sae.store.manifest import (
    IMAGES,
    ITEM_BYTES,
    MANIFEST_FILE,
    PLAN_FILE,
    SHARDS,
    FileSum,
    HookPart,
    ImageEntry,
    Manifest,
    Plan,
    Shard,
    Statistics,
    read_lines,
    read_record,
    shard_name,
)
from sae.store.rows import Ints, Span
from sae.store.writer import TORCH


class TokenPlace(NamedTuple):
    """Where a row comes from."""

    image: ImageEntry
    token: int
    """Among the tokens stored of that image."""
    patch: tuple[int, int] | None
    """Row and column of its patch; None for a class or register token, a vector of the whole image, or
    patches that are no grid."""


@dataclass(frozen=True)
class ActivationStore:
    """One hook point of a finished store; implements RowSource."""

    folder: Path
    manifest: Manifest = field(repr=False)
    part: HookPart

    @property
    def width(self) -> int:
        return self.part.width

    @property
    def rows(self) -> int:
        """Of all images."""
        return self.manifest.images * self.part.tokens

    @property
    def dtype(self) -> torch.dtype:
        return TORCH[self.manifest.plan.dtype]

    @property
    def statistics(self) -> Statistics:
        """Mean, variance and gamma over all rows."""
        return self.manifest.statistics[self.part.folder]

    @cached_property
    def pieces(self) -> Ints:
        """Rows of each shard."""
        images = np.array([shard.images for shard in self.manifest.shards], np.int64)
        return images * self.part.tokens

    def tensor(self, shard: int) -> Tensor:
        """(n, d) rows of a shard, mapped into memory: nothing is read before it is used.

        What is written to it stays in this process.
        """
        return self._mapped(shard)

    def read(self, spans: Sequence[Span], out: Tensor) -> None:
        at = 0
        for piece, start, stop in spans:
            out[at : at + stop - start] = self._mapped(piece)[start:stop]
            at += stop - start

    def place(self, row: int) -> TokenPlace:
        """The image and the token of a row. IndexError where there is no such row."""
        if not 0 <= row < self.rows:
            raise IndexError(f"Row {row} is not one of the {self.rows} of {self.folder}.")
        image, token = divmod(row, self.part.tokens)
        shard = int(np.searchsorted(self._image_ends, image, side="right"))
        first = int(self._image_ends[shard]) - self.manifest.shards[shard].images
        patch = token - self.part.prefix
        placed = self.part.grid is not None and patch >= 0
        return TokenPlace(
            self._entries(shard)[image - first],
            token,
            divmod(patch, self.part.grid[1]) if placed and self.part.grid else None,
        )

    def images(self) -> Iterator[ImageEntry]:
        """Every image stored, in order: the rows of the i-th begin at i * tokens."""
        for shard in range(len(self.manifest.shards)):
            yield from self._entries(shard)

    @cached_property
    def _image_ends(self) -> Ints:
        return np.cumsum([shard.images for shard in self.manifest.shards], dtype=np.int64)

    @cached_property
    def _mapped(self) -> Callable[[int], Tensor]:
        @cache
        def mapped(shard: int) -> Tensor:
            rows = int(self.pieces[shard])
            if not rows:
                return torch.empty(0, self.width, dtype=self.dtype)
            path = self.folder / self.part.folder / shard_name(shard, ".bin")
            try:
                # Copy on write: torch wants memory it may write to, the file stays as it is.
                raw = np.memmap(path, np.uint8, mode="c", shape=(rows * self.width * self.dtype.itemsize,))
            except (OSError, ValueError) as error:
                raise BadStore(f"{path} can no longer be read; extract the activations again.") from error
            return torch.from_numpy(raw).view(self.dtype).view(rows, self.width)

        return mapped

    @cached_property
    def _entries(self) -> Callable[[int], tuple[ImageEntry, ...]]:
        @lru_cache(maxsize=32)
        def entries(shard: int) -> tuple[ImageEntry, ...]:
            path = self.folder / IMAGES / shard_name(shard, ".jsonl")
            read = read_lines(path)
            if len(read) != self.manifest.shards[shard].images:
                raise BadStore(
                    f"{path} lists {len(read)} images, not {self.manifest.shards[shard].images}; "
                    "extract the activations again."
                )
            return read

        return entries


def open_store(folder: Path, hook_point: str | None = None) -> ActivationStore:
    """A finished store at one of its hook points, every file of the size it should be.

    A store of one hook point needs no name. BadStore in one sentence: unfinished, damaged, not there.
    """
    manifest = read_manifest(folder)
    part = _chosen(folder, manifest.plan.parts, hook_point)
    _check_sizes(folder, manifest, part)
    return ActivationStore(folder, manifest, part)


def read_manifest(folder: Path) -> Manifest:
    """What a finished store says of itself; BadStore where it is none or contradicts itself."""
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise WrongStore(_unfinished(folder))
    manifest = read_record(path, Manifest)
    _check_agreement(path, manifest)
    return manifest


def check_sums(folder: Path, *, told: Callable[[int, int], None] = lambda done, of: None) -> int:
    """Read every byte of a store and compare the sums; how many there were. BadStore names a wrong file.

    ``told`` hears the bytes read so far and of how many.
    """
    manifest = read_manifest(folder)
    for part in manifest.plan.parts:
        _check_sizes(folder, manifest, part)
    files = list(_files(folder, manifest))
    total, done = sum(held.bytes for _, held in files), 0
    for path, held in files:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != held.sha256:
            raise BadStore(
                f"{path} is not what was written (its sum differs); extract the activations again."
            )
        done += held.bytes
        told(done, total)
    return total


def _files(folder: Path, manifest: Manifest) -> Iterator[tuple[Path, FileSum]]:
    for shard in manifest.shards:
        yield folder / IMAGES / shard_name(shard.number, ".jsonl"), shard.entries
        for part in manifest.plan.parts:
            yield folder / part.folder / shard_name(shard.number, ".bin"), shard.files[part.folder]


def _unfinished(folder: Path) -> str:
    if not (folder / PLAN_FILE).is_file():
        return f"{folder} is no activation store; give a folder that an extraction wrote."
    plan = read_record(folder / PLAN_FILE, Plan)
    done = sum(1 for _ in (folder / SHARDS).glob("[0-9]*.json"))
    return (
        f"{folder} is not finished ({done} of {plan.n_shards} shards); "
        "repeat the command that began it to continue."
    )


def _chosen(folder: Path, parts: Sequence[HookPart], hook_point: str | None) -> HookPart:
    found = [part for part in parts if hook_point in (None, part.hook_point)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(part.hook_point for part in parts)
    if found:
        raise WrongStore(f"{folder} holds the hook points {names}; say which.")
    raise WrongStore(f"{folder} has no hook point {hook_point!r}; it holds {names}.")


def _check_agreement(path: Path, manifest: Manifest) -> None:
    """A manifest that contradicts itself would be read out of bounds."""
    plan = manifest.plan
    folders = {part.folder for part in plan.parts}
    numbers = [shard.number for shard in manifest.shards]
    whole = numbers == list(range(plan.n_shards)) and manifest.images == sum(
        shard.images for shard in manifest.shards
    )
    fits = whole and len(folders) == len(plan.parts) and set(manifest.statistics) == folders
    if not fits or not all(_agrees(shard, plan) for shard in manifest.shards):
        raise BadStore(f"{path} contradicts itself; extract the activations again.")
    for part in plan.parts:
        held = manifest.statistics[part.folder]
        if held.rows != manifest.images * part.tokens or {len(held.mean), len(held.variance)} != {part.width}:
            raise BadStore(f"{path} contradicts itself; extract the activations again.")


def _agrees(shard: Shard, plan: Plan) -> bool:
    covered = len(plan.bounds(shard.number))
    if shard.images + len(shard.skipped) != covered or set(shard.files) != {p.folder for p in plan.parts}:
        return False
    row = ITEM_BYTES[plan.dtype]
    return all(
        shard.files[part.folder].bytes == shard.images * part.tokens * part.width * row for part in plan.parts
    )


def _check_sizes(folder: Path, manifest: Manifest, part: HookPart) -> None:
    for shard in manifest.shards:
        _check_size(folder / part.folder / shard_name(shard.number, ".bin"), shard.files[part.folder])
        _check_size(folder / IMAGES / shard_name(shard.number, ".jsonl"), shard.entries)


def _check_size(path: Path, held: FileSum) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BadStore(f"{path} is missing; extract the activations again.") from error
    if size != held.bytes:
        raise BadStore(f"{path} has {size} bytes, not {held.bytes}; extract the activations again.")
