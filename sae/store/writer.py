"""Writing a store: a shard is whole or not there, whatever moment the process is killed at."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from sae.errors import BadStore, WrongStore
from sae.folder_lock import LOCK_FILE, folder_lock
from sae.store.finish import finished
from sae.store.manifest import (
    IMAGES,
    MANIFEST_FILE,
    PLAN_FILE,
    SHARDS,
    Dtype,
    FileSum,
    HookPart,
    ImageEntry,
    Manifest,
    PartMoments,
    Plan,
    Shard,
    ShardRecord,
    Skipped,
    as_json,
    as_lines,
    read_record,
    shard_name,
)
from sae.store.moments import Moments, merged, moments_of, no_moments
from sae.whole_file import sync_folder, whole_file

_PARTIAL = re.compile(r"\.\d+-[0-9a-f]{8}-(plan\.json|manifest\.json|\d{5,}\.(bin|json|jsonl))")
"""A name of ``whole_file``'s."""
TORCH: dict[Dtype, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


class StoreWriter:
    """The one writer of a store; see ``store_writer``."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan

    def missing(self) -> list[int]:
        """The shards that are not there yet, in order."""
        return [number for number in range(self.plan.n_shards) if not self._record(number).exists()]

    @contextmanager
    def shard(self, number: int) -> Iterator[ShardWriter]:
        """Write a shard: it is there when the block ends, and not at all if that fails."""
        with ExitStack() as files:
            writer = ShardWriter(self.plan, lambda part: self._open(files, part, number=number))
            yield writer
            held = writer.finish()
        entries = as_lines(writer.entries)
        _write(self.folder / IMAGES / shard_name(number, ".jsonl"), entries)
        shard = Shard(
            number=number,
            images=len(writer.entries),
            entries=_sum(entries),
            files=held,
            skipped=tuple(writer.skipped),
        )
        # Renames are on disk before the record that vouches for them.
        for name in (IMAGES, *held):
            sync_folder(self.folder / name)
        _write(self._record(number), as_json(ShardRecord(shard=shard, moments=writer.moments())))
        sync_folder(self.folder / SHARDS)

    def finish(self) -> Manifest:
        """Write manifest.json over all shards. BadStore when one is missing or none holds an image."""
        manifest = finished(self.folder, self.plan)
        _write(self.folder / MANIFEST_FILE, as_json(manifest))
        sync_folder(self.folder)
        return manifest

    def _open(self, files: ExitStack, part: HookPart, *, number: int) -> BinaryIO:
        partial = files.enter_context(whole_file(self.folder / part.folder / shard_name(number, ".bin")))
        return files.enter_context(partial.open("wb"))

    def _record(self, number: int) -> Path:
        return self.folder / SHARDS / shard_name(number, ".json")


class ShardWriter:
    """The rows of one shard, appended image by image."""

    def __init__(self, plan: Plan, opened: Callable[[HookPart], BinaryIO]) -> None:
        self.entries: list[ImageEntry] = []
        self.skipped: list[Skipped] = []
        self._parts = {part.folder: _PartFile(part, TORCH[plan.dtype], opened(part)) for part in plan.parts}

    def add(self, entries: Sequence[ImageEntry], held: Mapping[str, Tensor]) -> None:
        """Append n images: what each hook point holds of them, (n, tokens, d), by its folder.

        BadStore where a value does not fit the store's type, or is not finite to begin with.
        """
        for folder, part in self._parts.items():
            part.add(held[folder], images=len(entries))
        self.entries.extend(entries)

    def skip(self, skipped: Skipped) -> None:
        """Count an image that could not be decoded."""
        self.skipped.append(skipped)

    def finish(self) -> dict[str, FileSum]:
        """All bytes on disk; the sum of every file."""
        return {folder: part.finish() for folder, part in self._parts.items()}

    def moments(self) -> dict[str, PartMoments]:
        """Of every hook point's rows, by its folder."""
        return {folder: stored_moments(part.moments) for folder, part in self._parts.items()}


class _PartFile:
    """One hook point's file of one shard."""

    def __init__(self, part: HookPart, dtype: torch.dtype, file: BinaryIO) -> None:
        self._part, self._dtype, self._file = part, dtype, file
        self._sum, self._bytes = hashlib.sha256(), 0
        self.moments: Moments = no_moments(part.width)

    def add(self, held: Tensor, *, images: int) -> None:
        expected = (images, self._part.tokens, self._part.width)
        if tuple(held.shape) != expected:
            raise BadStore(
                f"Hook point {self._part.hook_point!r} gave activations of shape {tuple(held.shape)}, "
                f"not {expected}; a store holds images of one size."
            )
        rows = held.to("cpu", self._dtype).flatten(0, 1).contiguous()
        if not bool(rows.isfinite().all()):
            raise WrongStore(self._unfit(held))
        raw = memoryview(cast("Any", rows.view(torch.uint8).numpy())).cast("B")
        self._file.write(raw)
        self._sum.update(raw)
        self._bytes += len(raw)
        # Of what is stored, rounding included.
        self.moments = merged(self.moments, moments_of(rows))

    def finish(self) -> FileSum:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return FileSum(bytes=self._bytes, sha256=self._sum.hexdigest())

    def _unfit(self, held: Tensor) -> str:
        where = f"Activations at hook point {self._part.hook_point!r}"
        if not bool(held.isfinite().all()):
            return f"{where} are not finite; check the backbone and the precision it runs in."
        most = f"{float(held.abs().max()):.3g}"
        return f"{where} reach {most}, more than {self._dtype} holds; store them as bf16 or fp32."


@contextmanager
def store_writer(folder: Path, plan: Plan) -> Iterator[StoreWriter]:
    """Begin or continue a store. BadStore: begun with another plan, or another process writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _begin(folder, plan)
        yield StoreWriter(folder, plan)


def stored_moments(moments: Moments) -> PartMoments:
    """Moments as they are kept."""
    return PartMoments(
        count=moments.n, mean=tuple(moments.mean.tolist()), squares=tuple(moments.squares.tolist())
    )


def refuse_other_plan(folder: Path, begun: Plan, plan: Plan) -> None:
    """BadStore when a folder's store was begun with another plan, naming the first thing that differs."""
    for name in Plan.model_fields:
        old, new = getattr(begun, name), getattr(plan, name)
        if old != new:
            raise WrongStore(
                f"{folder} was begun with another {name.strip('_').replace('_', ' ')} ({_brief(old)}, "
                f"now {_brief(new)}); give the same options to continue, or another folder."
            )


def _begin(folder: Path, plan: Plan) -> None:
    _sweep(folder)
    if (folder / PLAN_FILE).exists():
        refuse_other_plan(folder, read_record(folder / PLAN_FILE, Plan), plan)
    elif others := sorted(path.name for path in folder.iterdir() if path.name != LOCK_FILE):
        raise WrongStore(f"{folder} holds {others[0]} and no activation store; give a new or empty folder.")
    else:
        # First of all: it is what tells a store that was begun from somebody's folder.
        _write(folder / PLAN_FILE, as_json(plan))
        sync_folder(folder)
    for name in (SHARDS, IMAGES, *(part.folder for part in plan.parts)):
        (folder / name).mkdir(exist_ok=True)
        _sweep(folder / name)


def _sweep(folder: Path) -> None:
    """Remove what a killed process was writing; nobody else writes here now."""
    for path in folder.iterdir():
        if _PARTIAL.fullmatch(path.name):
            path.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(folder_lock(folder))
        except BlockingIOError:
            raise WrongStore(
                f"{folder} is being written by another process; wait for it or stop it."
            ) from None
        yield


def _write(path: Path, raw: bytes) -> None:
    with whole_file(path) as partial, partial.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _sum(raw: bytes) -> FileSum:
    return FileSum(bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest())


def _brief(value: object) -> str:
    said = str(value)
    return said if len(said) <= 60 else f"{said[:57]}..."
