"""Images to activations of every feature: a backbone at a hook point, a dictionary, pooling over tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from sae.backbone import VisionBackbone, load_backbone
from sae.card import read_card
from sae.dictionary import SparseDictionary, load_dictionary
from sae.errors import BadDictionary
from sae.pooling import Pooling

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


class SparseRow(NamedTuple):
    """The non-zero activations of one image."""

    indices: Ints
    """Feature indices, ascending."""
    values: Floats


@dataclass(frozen=True)
class FeatureReader:
    """Reads all features of a dictionary on images, one activation per image and feature."""

    backbone: VisionBackbone
    dictionary: SparseDictionary
    hook_point: str
    pooling: Pooling
    top_p: float = 0.1
    """Share of an image's patch tokens, the highest, that 'top-p' averages."""
    batch_size: int = 32
    """Images in every pass, the last one filled up: how many came with an image does not change it."""

    def __call__(self, images: Sequence[Image.Image]) -> Floats:
        """(n, F) float32, one row per image in order."""
        return self._read(len(images), lambda start, end: self.backbone.preprocess(images[start:end]))

    def read_pixels(self, pixels: Tensor) -> Floats:
        """(n, F) float32 of (n, 3, h, w) preprocessed images."""
        return self._read(len(pixels), lambda start, end: pixels[start:end])

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """(b, F) of one batch of preprocessed (b, 3, h, w), on the dictionary's device."""
        return self.pool(self.dictionary.encode(self._inputs(pixels)))

    @torch.no_grad()
    def inputs(self, pixels: Tensor) -> Tensor:
        """(n, d) what the dictionary encodes of preprocessed images, tokens one after another."""
        return self._inputs(pixels).flatten(0, -2)

    def _inputs(self, pixels: Tensor) -> Tensor:
        held = self.backbone.activations(pixels, [self.hook_point])[self.hook_point]
        return self.select(held.to(self.dictionary.W_enc.device, torch.float32))

    def _read(self, n: int, load: Callable[[int, int], Tensor]) -> Floats:
        found = np.empty((n, self.dictionary.n_features), np.float32)
        for start, end in _spans(n, self.batch_size):
            pixels = load(start, end)
            filled = pixels.new_zeros(self.batch_size, *pixels.shape[1:])
            filled[: end - start] = pixels
            found[start:end] = self.encode(filled)[: end - start].cpu().numpy()
        return found

    def pool(self, codes: Tensor) -> Tensor:
        """(b, F) of (b, F) or (b, p, F) codes."""
        return codes if codes.ndim == 2 else POOL[self.pooling](codes, self.top_p)

    def select(self, held: Tensor) -> Tensor:
        """What the dictionary encodes: (b, d) embeddings or class tokens, or (b, p, d) patch tokens."""
        if held.shape[-1] != self.dictionary.width:
            raise BadDictionary(
                f"Hook point {self.hook_point!r} is {held.shape[-1]} wide, the dictionary "
                f"{self.dictionary.width}; give the backbone it was trained on."
            )
        if (held.ndim == 2) != (self.pooling == "none") or (
            self.pooling == "cls" and not self.backbone.has_cls
        ):
            raise BadDictionary(
                f"Pooling {self.pooling!r} does not fit hook point {self.hook_point!r}, which holds "
                f"{_contents(held, self.backbone)}; correct the dictionary's card."
            )
        if self.pooling == "cls":
            return held[:, 0]
        return held if held.ndim == 2 else held[:, self.backbone.n_prefix_tokens :]


def open_reader(
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    batch_size: int = 32,
) -> FeatureReader:
    """The reader of a dictionary folder, with the backbone its card names. BadDictionary, BadModel."""
    card = read_card(folder)
    return FeatureReader(
        backbone=load_backbone(card.backbone.located(folder), device=device, dtype=dtype),
        dictionary=load_dictionary(folder, device=device),
        hook_point=card.hook_point,
        pooling=card.pooling,
        top_p=card.top_p,
        batch_size=batch_size,
    )


def sparse_rows(activations: Floats) -> list[SparseRow]:
    """The non-zero entries of each row of (n, F) activations."""
    indices = [np.flatnonzero(row).astype(np.int32) for row in activations]
    return [SparseRow(at, row[at]) for at, row in zip(indices, activations, strict=True)]


def _highest_share(codes: Tensor, share: float) -> Tensor:
    count = max(1, math.ceil(share * codes.shape[1]))
    return codes.topk(count, dim=1).values.mean(1)


POOL: dict[Pooling, Callable[[Tensor, float], Tensor]] = {
    "max": lambda codes, _: codes.amax(1),
    "mean": lambda codes, _: codes.mean(1),
    "top-p": _highest_share,
}
"""(b, p, F) codes of patch tokens to (b, F)."""


def _spans(n: int, batch_size: int) -> Iterator[tuple[int, int]]:
    return ((start, min(n, start + batch_size)) for start in range(0, n, batch_size))


def _contents(held: Tensor, backbone: VisionBackbone) -> str:
    if held.ndim == 2:
        return "one vector per image ('none' fits)"
    return f"tokens {'with' if backbone.has_cls else 'without'} a class token ('max', 'mean' or 'top-p' fits)"
