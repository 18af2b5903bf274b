"""Activations without a store: images are read through the backbone whenever they are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sae.backbone import VisionBackbone
from sae.image_source import ImageSource
from sae.store.extract import activations_of
from sae.store.manifest import HookPart, Scope, Skipped
from sae.store.pixels import PixelReader, Prepared
from sae.store.rows import Ints, Span
from sae.store.shuffle import RowStream
from sae.store.tokens import hook_parts


@dataclass(frozen=True)
class BackboneStream:
    """Tokens of images in a seeded order, made when they are read; implements ActivationStream.

    An image that cannot be decoded ends it with BadImages: leaving it out would make the order depend on it.
    """

    backbone: VisionBackbone
    images: ImageSource
    hook_point: str
    scope: Scope = "patch"
    batch_size: int = 32
    """Images in a pass."""
    window_images: int = 256
    """Images whose tokens are mixed."""
    workers: int = 4
    dtype: torch.dtype | None = torch.float32

    @property
    def width(self) -> int:
        return self._stream.width

    @property
    def rows(self) -> int:
        return self._stream.rows

    def batches(self, batch_size: int, *, seed: int, start: int = 0) -> Iterator[Tensor]:
        """(batch_size, d) batches without end, all full, the first of them being batch ``start``.

        Every epoch permutes the images; the tokens of ``window_images`` of them are permuted together.
        """
        return self._stream.batches(batch_size, seed=seed, start=start)

    def once(self, batch_size: int) -> Iterator[Tensor]:
        """(b, d) batches of every token once, image after image; the last may be shorter."""
        return self._stream.once(batch_size)

    @cached_property
    def _stream(self) -> RowStream:
        (part,) = hook_parts(self.backbone, [self.hook_point], self.scope)
        return RowStream(
            _LiveRows(self, part),
            block_rows=part.tokens,
            window_rows=part.tokens * self.window_images,
            dtype=self.dtype,
        )


@dataclass(frozen=True)
class _LiveRows:
    """A piece is an image; implements RowSource."""

    stream: BackboneStream
    part: HookPart

    @property
    def width(self) -> int:
        return self.part.width

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    @cached_property
    def pieces(self) -> Ints:
        return np.full(len(self.stream.images), self.part.tokens, np.int64)

    def read(self, spans: Sequence[Span], out: Tensor) -> None:
        at = 0
        size = self.stream.batch_size
        reader = PixelReader(self.stream.images, self.stream.backbone, self.stream.workers)
        images = reader.read((span.piece for span in spans), skip=False)
        for first in range(0, len(spans), size):
            some = spans[first : first + size]
            held = self._held([next(images) for _ in some])
            for span, tokens in zip(some, held, strict=True):
                out[at : at + span.stop - span.start] = tokens[span.start : span.stop]
                at += span.stop - span.start

    def _held(self, images: list[Prepared | Skipped]) -> Tensor:
        ready = [image for image in images if isinstance(image, Prepared)]
        made = activations_of(ready, (self.part,), self.stream.backbone, size=self.stream.batch_size)
        return made[self.part.folder]
