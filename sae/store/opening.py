"""One door to activations on disk, whoever wrote them, and their conversion into a store of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from sae.errors import WrongStore
from sae.store.foreign import ForeignStore, is_raw, open_array, open_folder, open_raw
from sae.store.manifest import ITEM_BYTES, Dtype, HookPart, ImageEntry, Manifest, Plan, Scope
from sae.store.reader import ActivationStore, open_store
from sae.store.rows import read_range
from sae.store.saev import is_saev, open_saev
from sae.store.writer import ShardWriter, store_writer

Opened: TypeAlias = ActivationStore | ForeignStore
CONVERTED_BYTES = 256 * 2**20
CHUNK_BYTES = 16 * 2**20


def open_activations(
    path: Path, hook_point: str | None = None, *, layer: int | None = None, scope: Scope = "patch"
) -> Opened:
    """Activations on disk, known by what lies there. BadStore in one sentence where nothing is known.

    A store of ours (``hook_point`` chooses one of several), saev's shards (``layer`` and ``scope``), sative's
    folder of .npy files (``layer``), MSAE's raw memory map, a .npy array.
    """
    if path.is_dir():
        return _open_folder(path, hook_point, layer=layer, scope=scope)
    if path.is_file():
        return open_raw(path) if is_raw(path) else open_array(path)
    raise WrongStore(f"{path} does not exist; give a store of activations.")


def convert(
    foreign: ForeignStore,
    folder: Path,
    *,
    dtype: Dtype = "fp16",
    told: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Write a store of ours with the same rows; continued where it was stopped.

    ``told`` hears the images done and of how many. BadStore where a value does not fit the type.
    """
    plan = _plan(foreign, dtype)
    with store_writer(folder, plan) as writer:
        for number in writer.missing():
            with writer.shard(number) as shard:
                _copy(foreign, shard, plan=plan, images=plan.bounds(number))
            if told is not None:
                told(plan.bounds(number).stop, plan.images)
        return writer.finish()


def _open_folder(path: Path, hook_point: str | None, *, layer: int | None, scope: Scope) -> Opened:
    if is_saev(path):
        return open_saev(path, layer=layer, scope=scope)
    if any(path.glob("*.npy")):
        if layer is None:
            raise WrongStore(f"{path} holds a .npy file for every image; say which layer of them to read.")
        return open_folder(path, layer=layer)
    return open_store(path, hook_point)


def _plan(foreign: ForeignStore, dtype: Dtype) -> Plan:
    prefix = 1 if foreign.scope == "cls" else 0
    part = HookPart(
        hook_point=foreign.hook_point,
        folder="activations",
        scope=foreign.scope,
        width=foreign.width,
        tokens=foreign.tokens,
        prefix=prefix,
    )
    return Plan(
        source=f"{foreign.path.resolve()}, {foreign.hook_point}",
        source_fingerprint=f"{foreign.images}x{foreign.tokens}x{foreign.width}",
        images=foreign.images,
        backbone=None,
        backbone_fingerprint=None,
        parts=(part,),
        dtype=dtype,
        shard_images=max(1, CONVERTED_BYTES // (foreign.tokens * foreign.width * ITEM_BYTES[dtype])),
    )


def _copy(foreign: ForeignStore, shard: ShardWriter, *, plan: Plan, images: range) -> None:
    step = max(1, CHUNK_BYTES // (foreign.tokens * foreign.width * foreign.dtype.itemsize))
    for start in range(images.start, images.stop, step):
        some = range(start, min(images.stop, start + step))
        rows = read_range(foreign, some.start * foreign.tokens, some.stop * foreign.tokens)
        held = rows.view(len(some), foreign.tokens, foreign.width)
        entries = [ImageEntry(row=row, image=foreign.image(row)) for row in some]
        shard.add(entries, {part.folder: held for part in plan.parts})
