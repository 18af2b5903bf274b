"""The activations of a set of images at a dictionary's hook point, held to be read several times."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae.activations import FeatureReader
from sae.backbone import VisionBackbone
from sae.errors import BadImages, BadStore
from sae.image_source import ImageSource
from sae.metrics import Doubles
from sae.store.reader import ActivationStore
from sae.store.rows import read_range

MOST_HELD = 2**30
"""Bytes held in memory; more goes to a file without a name in the temporary folder."""
BATCH = 32


class Tokens(NamedTuple):
    """What a dictionary encodes of n images."""

    held: Tensor
    """(n, p, d) float32 on the CPU; p is 1 where an image is one vector."""

    @property
    def n_images(self) -> int:
        return self.held.shape[0]

    @property
    def positions(self) -> int:
        """Tokens of an image."""
        return self.held.shape[1]

    @property
    def rows(self) -> int:
        """Tokens of all images."""
        return self.n_images * self.positions

    def batches(self, images: int) -> Iterator[Tensor]:
        """(b, p, d) of so many images at a time, the last batch shorter."""
        return iter(torch.split(self.held, images))

    def pooled(self) -> Doubles:
        """(n, d) the mean of each image's tokens."""
        return np.concatenate([part.double().mean(1).numpy() for part in self.batches(256)])


class Moments(NamedTuple):
    """Of all tokens, in float64."""

    mean: Doubles
    """(d,)"""
    spread: Doubles
    """(n,) summed squared distance of an image's tokens from the mean."""
    gamma: float
    """|mean| / |standard deviation|: how flattering uncentred measures are. nan where nothing varies."""


def moments(tokens: Tokens) -> Moments:
    """Mean and spread, in two passes."""
    total = sum(
        (part.double().sum((0, 1)) for part in tokens.batches(256)), torch.zeros((), dtype=torch.float64)
    )
    mean = total / tokens.rows
    spread = torch.cat([(part.double() - mean).square().sum((1, 2)) for part in tokens.batches(256)])
    deviation = float(spread.sum() / tokens.rows) ** 0.5
    gamma = float(mean.norm()) / deviation if deviation > 0 else float("nan")
    return Moments(mean.numpy(), spread.numpy(), gamma)


class PixelBatch(NamedTuple):
    """Some images, as a backbone takes them."""

    start: int
    """Number of the first."""
    pixels: Tensor
    """(b, 3, h, w)"""
    labels: tuple[str | None, ...]
    """(b,)"""


class Gathered(NamedTuple):
    """The activations of a set of images and their labels."""

    tokens: Tokens
    labels: tuple[str | None, ...]
    """(n,)"""


def gather_tokens(
    reader: FeatureReader, images: ImageSource, *, told: Callable[[int], None] = lambda _: None
) -> Gathered:
    """What the dictionary of a reader encodes of every image; ``told`` hears how many are done."""
    held: Tensor | None = None
    labels: list[str | None] = []
    for batch in pixel_batches(reader.backbone, images):
        found = reader.inputs(batch.pixels).float().cpu()
        found = found.reshape(len(batch.pixels), -1, found.shape[-1])
        if held is None:
            held = _room(len(images), *found.shape[1:])
        held[batch.start : batch.start + len(found)] = found
        labels += batch.labels
        told(len(labels))
    if held is None:
        raise BadImages("There is no image to measure on; give a folder that holds some.")
    return Gathered(Tokens(held), tuple(labels))


def stored_tokens(store: ActivationStore, *, count: int) -> Gathered:
    """The first ``count`` images of a store, all if it has no more."""
    n, tokens = min(count, store.manifest.images), store.part.tokens
    if n < 1:
        raise BadStore(f"{store.folder} holds no image; extract activations into it first.")
    held = _room(n, tokens, store.width)
    for start in range(0, n, BATCH):
        end = min(n, start + BATCH)
        rows = read_range(store, start * tokens, end * tokens)
        held[start:end] = rows.float().view(end - start, tokens, store.width)
    return Gathered(Tokens(held), tuple(entry.label for entry in islice(store.images(), n)))


def embed_images(backbone: VisionBackbone, images: ImageSource, hook_point: str) -> Doubles:
    """(n, d) what a model says of each image at a hook point of one vector."""
    found = [
        backbone.activations(batch.pixels, [hook_point])[hook_point].double().cpu().numpy()
        for batch in pixel_batches(backbone, images)
    ]
    return np.concatenate(found)


def pixel_batches(
    backbone: VisionBackbone, images: ImageSource, *, size: int = BATCH
) -> Iterator[PixelBatch]:
    """Every image, so many at a time. BadImages names one that cannot be read."""
    for start in range(0, len(images), size):
        read = [images.read(row) for row in range(start, min(len(images), start + size))]
        pixels = backbone.preprocess([each.image for each in read])
        yield PixelBatch(start, pixels, tuple(each.label for each in read))


def _room(*shape: int) -> Tensor:
    if 4 * int(np.prod(shape)) <= MOST_HELD:
        return torch.empty(shape)
    with tempfile.TemporaryFile() as file:
        # The map outlives the file it was made from.
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
