"""Pictures drawn from a steered image embedding, by generators that take one: the Kandinsky 2.2 family.

Such a generator was trained to draw what an image encoder sees, so that a feature of a dictionary on that
encoder's embedding can be turned up or down and the picture looked at.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sae.activations import FeatureReader
from sae.dictionary import SparseDictionary
from sae.edit import Edit, Mode
from sae.hook_point import POOLED
from sae.steering import steer_activations
from tools.errors import UsageError

_TAKES = ("image_embeds", "negative_image_embeds")


def steer_embedding(
    embedding: Tensor, dictionary: SparseDictionary, *, feature: int, alpha: float, mode: Mode = "add"
) -> Tensor:
    """(..., d) image embeddings with one feature changed, ``alpha`` in its own activation.

    ``sae.steering.strength`` makes one of a percentile. BadDictionary where there is no such feature.
    """
    return steer_activations(dictionary, embedding, [Edit(feature, mode, alpha)])


@dataclass(frozen=True)
class EmbeddingPainter:
    """A pipeline that draws image embeddings and the reader of the encoder that makes them."""

    pipeline: Any
    """A diffusers pipeline that takes image_embeds and negative_image_embeds."""
    reader: FeatureReader
    """On the encoder's embedding."""
    steps: int = 25
    guidance: float = 4.0
    side: int = 512

    def __post_init__(self) -> None:
        """UsageError where pipeline or hook point do not fit."""
        takes = inspect.signature(type(self.pipeline).__call__).parameters
        if not set(_TAKES) <= set(takes):
            raise UsageError(
                f"Generator {type(self.pipeline).__name__} does not draw image embeddings; "
                "give one of the Kandinsky 2.2 family."
            )
        if self.reader.hook_point != POOLED:
            raise UsageError(
                f"Features at hook point {self.reader.hook_point!r} are none of the image embedding; "
                f"use a dictionary at {POOLED!r}."
            )

    def embed(self, images: Sequence[Image.Image]) -> Tensor:
        """(n, d) float32."""
        return self.reader.inputs(self.reader.backbone.preprocess(images))

    def draw(self, embedding: Tensor, edits: Sequence[Edit] = (), *, seed: int = 0) -> list[Image.Image]:
        """A picture for each of (n, d) embeddings, edited; the same noise for the same seed and place."""
        steered = steer_activations(self.reader.dictionary, embedding, edits).to(embedding)
        chances = [torch.Generator().manual_seed(seed + at) for at in range(len(steered))]
        with torch.no_grad():
            drawn = self.pipeline(
                image_embeds=steered,
                negative_image_embeds=self._nothing().to(steered).expand_as(steered),
                height=self.side,
                width=self.side,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                generator=chances,
            )
        pictures: list[Image.Image] = drawn.images
        return pictures

    def _nothing(self) -> Tensor:
        """(1, d) what the encoder makes of pixels that are all 0, which guidance leads away from."""
        grey = self.reader.backbone.preprocess([Image.new("RGB", (64, 64))])
        return self.reader.inputs(torch.zeros_like(grey))
