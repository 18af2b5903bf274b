"""Relevance by gradient, by covering patches, by the codes of patches, and at random."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sae.errors import UnfitMethod
from sae.relevance.subject import Subject


def gradient_input(subject: Subject) -> Tensor:
    """(b, rows * columns): |sum over channels of gradient * pixel|, its mean over each patch."""
    pixels, score = subject.with_graph()
    (gradient,) = torch.autograd.grad(score.sum(), pixels)
    product = (gradient * pixels.detach()).sum(1, keepdim=True).abs().float()
    return functional.adaptive_avg_pool2d(product, subject.grid).flatten(1).cpu()


def occlusion(subject: Subject) -> Tensor:
    """(b, rows * columns): what the score loses when a patch takes the image's mean colour."""
    patches = subject.grid.rows * subject.grid.columns
    whole = subject.score(subject.pixels)
    lost = torch.empty(len(whole), patches)
    masks = cover(torch.eye(patches, dtype=torch.bool), subject)
    for at, pixels in enumerate(subject.pixels):
        colour = pixels.mean((1, 2), keepdim=True)
        lost[at] = whole[at] - subject.score(torch.where(masks, colour, pixels))
    return lost


def activation(subject: Subject) -> Tensor:
    """(b, rows * columns) codes of the patch tokens. UnfitMethod where the dictionary reads none."""
    reader = subject.reader
    if reader.pooling in ("none", "cls"):
        raise UnfitMethod(
            f"Method 'activation' shows the codes of patch tokens, and this dictionary reads one vector an "
            f"image ({reader.hook_point!r}, pooling {reader.pooling!r}); use chefer-rows or occlusion."
        )
    codes = reader.dictionary.encode(reader.inputs(subject.pixels))
    return subject.target.score(codes).view(len(subject.pixels), -1).float().cpu()


def random(subject: Subject) -> Tensor:
    """(b, rows * columns) of chance: what every method must beat."""
    chance = torch.Generator().manual_seed(subject.seed)
    return torch.rand(len(subject.pixels), subject.grid.rows * subject.grid.columns, generator=chance)


def cover(chosen: Tensor, subject: Subject) -> Tensor:
    """(m, patches) of patches chosen to (m, 1, h, w) of pixels under them."""
    laid = chosen.view(len(chosen), 1, *subject.grid).float()
    masks = functional.interpolate(laid, size=subject.pixels.shape[2:], mode="nearest") > 0.5
    return masks.to(subject.pixels.device)
