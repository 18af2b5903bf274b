"""From images to a store: one pass of a backbone for all hook points, continued where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sae.backbone import VisionBackbone, load_backbone
from sae.card import BackboneSpec
from sae.errors import BadStore
from sae.fingerprint import fingerprint
from sae.image_source import ImageSource
from sae.store.manifest import ITEM_BYTES, MANIFEST_FILE, Dtype, HookPart, Manifest, Plan, Scope, Skipped
from sae.store.pixels import PixelReader, Prepared
from sae.store.reader import read_manifest
from sae.store.tokens import hook_parts, padded, take_tokens
from sae.store.writer import ShardWriter, refuse_other_plan, store_writer

SHARD_IMAGES, SHARD_BYTES = 2048, 256 * 2**20
"""A shard is as large as either allows: what a kill costs, and what lies open at a time."""


class LoadedBackbone(NamedTuple):
    """A backbone and what records say of it."""

    model: VisionBackbone
    spec: BackboneSpec
    fingerprint: str


class Wanted(NamedTuple):
    """What is to be stored of each image, and how."""

    hook_points: tuple[str, ...]
    scope: Scope = "patch"
    dtype: Dtype = "fp16"
    batch_size: int = 32
    """Images in every pass, the last one of a shard filled up."""
    skip_unreadable: bool = True
    workers: int = 4
    """Threads that decode images."""
    shard_images: int | None = None
    """Images a shard covers; None: 2,048, or fewer where that is more than 256 MiB."""


class Progress(NamedTuple):
    """How far an extraction is."""

    done: int
    """Images of the source that are dealt with, those of earlier calls included."""
    images: int
    skipped: int
    """Of them could not be decoded, in this call."""


def _silent(progress: Progress) -> None:
    """Tell nobody."""


def load_for_extraction(
    spec: BackboneSpec, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> LoadedBackbone:
    """A backbone with its fingerprint. BadModel, ModelUnreachable."""
    model = load_backbone(spec, device=device, dtype=dtype)
    return LoadedBackbone(model, spec, fingerprint(spec.source, spec.revision))


@dataclass(frozen=True)
class Extraction:
    """Images, a backbone, and what to store of them."""

    source: ImageSource
    backbone: LoadedBackbone
    wanted: Wanted

    def plan(self) -> Plan:
        """What the store's records will say. BadStore, UnknownHookPoint."""
        parts = hook_parts(self.backbone.model, self.wanted.hook_points, self.wanted.scope)
        return Plan(
            source=self.source.name,
            source_fingerprint=self.source.fingerprint,
            images=len(self.source),
            backbone=self.backbone.spec,
            backbone_fingerprint=self.backbone.fingerprint,
            parts=parts,
            dtype=self.wanted.dtype,
            shard_images=self.wanted.shard_images or shard_images(parts, self.wanted.dtype),
            skip_unreadable=self.wanted.skip_unreadable,
        )

    def run(self, folder: Path, *, told: Callable[[Progress], None] = _silent) -> Manifest:
        """Store what is missing; the finished store's manifest.

        Stopped or killed at any moment, the same call continues with the first shard that is not whole.
        BadStore when the folder holds something else; BadImages at an image that is not to be skipped.
        """
        plan = self.plan()
        if (folder / MANIFEST_FILE).is_file():
            manifest = read_manifest(folder)
            refuse_other_plan(folder, manifest.plan, plan)
            return manifest
        with store_writer(folder, plan) as writer:
            missing = writer.missing()
            rows = chain.from_iterable(plan.bounds(number) for number in missing)
            reader = PixelReader(self.source, self.backbone.model, self.wanted.workers)
            left = sum(len(plan.bounds(number)) for number in missing)
            count = _Count(plan.images, done=plan.images - left, told=told)
            count.tell()
            with closing(reader.read(rows, skip=plan.skip_unreadable)) as images:
                for number in missing:
                    with writer.shard(number) as shard:
                        self._fill(shard, plan, images=images, size=len(plan.bounds(number)), count=count)
            return writer.finish()

    def _fill(
        self,
        shard: ShardWriter,
        plan: Plan,
        *,
        images: Iterator[Prepared | Skipped],
        size: int,
        count: _Count,
    ) -> None:
        batch: list[Prepared] = []
        for at in range(size):
            image = next(images)
            if isinstance(image, Skipped):
                shard.skip(image)
                count.skipped += 1
            else:
                batch.append(image)
            if batch and (len(batch) == self.wanted.batch_size or at + 1 == size):
                held = activations_of(batch, plan.parts, self.backbone.model, size=self.wanted.batch_size)
                shard.add([each.entry for each in batch], held)
                batch = []
            count.done += 1
            if not batch:
                count.tell()


class _Count:
    """How far it is, told after every pass."""

    def __init__(self, images: int, *, done: int, told: Callable[[Progress], None]) -> None:
        self._images, self._told = images, told
        self.done, self.skipped = done, 0

    def tell(self) -> None:
        self._told(Progress(self.done, self._images, self.skipped))


def activations_of(
    images: list[Prepared], parts: tuple[HookPart, ...], backbone: VisionBackbone, *, size: int
) -> dict[str, Tensor]:
    """(n, tokens, d) at each hook point, by its folder, in one pass of ``size`` images."""
    shapes = {tuple(image.pixels.shape) for image in images}
    if len(shapes) > 1:
        raise BadStore(
            f"The backbone prepares images at different sizes ({', '.join(map(str, sorted(shapes)))}); "
            "take one with a fixed size."
        )
    pixels = padded(torch.stack([image.pixels for image in images]), size)
    held = backbone.activations(pixels, [part.hook_point for part in parts])
    return {part.folder: take_tokens(held[part.hook_point], part, backbone)[: len(images)] for part in parts}


def shard_images(parts: tuple[HookPart, ...], dtype: Dtype) -> int:
    """Images that a shard covers."""
    image_bytes = sum(part.tokens * part.width * ITEM_BYTES[dtype] for part in parts)
    return max(1, min(SHARD_IMAGES, SHARD_BYTES // image_bytes))
