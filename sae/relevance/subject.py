"""The images, the target and the grid that every method maps, and a pass through the model with a graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sae.activations import FeatureReader
from sae.errors import UnfitMethod
from sae.hooked import Grid, HookedBackbone
from sae.relevance.target import Target


@dataclass(frozen=True)
class Subject:
    """What is mapped."""

    reader: FeatureReader
    pixels: Tensor
    """(b, 3, h, w) preprocessed, on the backbone's device, without a graph."""
    target: Target
    grid: Grid
    seed: int = 0
    """Of the random map."""

    @property
    def backbone(self) -> HookedBackbone:
        """The reader's."""
        return hooked(self.reader)

    def with_graph(self) -> tuple[Tensor, Tensor]:
        """Pixels that require a gradient, and the (b,) score they lead to."""
        with torch.enable_grad():
            pixels = self.pixels.detach().clone().requires_grad_()
            held = self.backbone.differentiable(pixels, [self.reader.hook_point])[self.reader.hook_point]
            dictionary = self.reader.dictionary
            inputs = self.reader.select(held.to(dictionary.W_enc.device, torch.float32))
            return pixels, self.target.score(self.reader.pool(dictionary.encode(inputs)))

    @torch.no_grad()
    def score(self, pixels: Tensor) -> Tensor:
        """(m,) score of other (m, 3, h, w) pixels, on the CPU, a batch at a time."""
        batches = torch.split(pixels, self.reader.batch_size)
        return torch.cat([self.target.score(self.reader.encode(batch)).float().cpu() for batch in batches])


def subject_of(reader: FeatureReader, pixels: Tensor, *, target: Target, seed: int = 0) -> Subject:
    """The subject, on the grid of the patch tokens: the hook point's, else the last block's."""
    backbone = hooked(reader)
    pixels = pixels.detach().to(backbone.device, backbone.dtype)
    by_patches = reader.pooling not in ("none", "cls")
    where = reader.hook_point if by_patches else f"block.{len(backbone.blocks) - 1}"
    return Subject(reader, pixels, target, backbone.patch_grid(pixels, where), seed)


def hooked(reader: FeatureReader) -> HookedBackbone:
    """The reader's backbone as one that passes gradients."""
    if not isinstance(reader.backbone, HookedBackbone):
        raise UnfitMethod(
            f"A {type(reader.backbone).__name__} passes no gradients; load the backbone by load_backbone."
        )
    return reader.backbone
