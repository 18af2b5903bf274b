"""SigLIP2's NaFlex input: an image as a sequence of flattened patches."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor


class NaFlex(NamedTuple):
    """What a NaFlex model takes besides weights."""

    pixel_values: Tensor
    """(b, p, side * side * 3), a patch by rows, then columns, then colours."""
    pixel_attention_mask: Tensor
    """(b, p) ones: every patch is of the image."""
    spatial_shapes: Tensor
    """(b, 2) rows and columns of patches."""


def as_patches(images: Tensor, side: int) -> NaFlex:
    """(b, 3, h, w) to patches of ``side`` x ``side`` pixels, differentiable."""
    b, _, h, w = images.shape
    rows, columns = h // side, w // side
    split = images.reshape(b, 3, rows, side, columns, side)
    patches = split.permute(0, 2, 4, 3, 5, 1).reshape(b, rows * columns, -1)
    mask = torch.ones(patches.shape[:2], dtype=torch.int32, device=images.device)
    return NaFlex(patches, mask, torch.tensor([[rows, columns]] * b, device=images.device))


def as_image(patches: Tensor, *, rows: int, columns: int, side: int) -> Tensor:
    """The inverse for one image: (p, side * side * 3) to (3, h, w), without the padding at the end."""
    split = patches[: rows * columns].reshape(rows, columns, side, side, 3)
    return split.permute(4, 0, 2, 1, 3).reshape(3, rows * side, columns * side)


def prepare_square(processor: Any, image: Image.Image) -> Tensor:
    """One image as the (3, h, w) the processor makes of it once it is square, as others squash theirs.

    So images of any shape come in one batch; a square one is what the model's own preprocessing gives.
    """
    side = processor.patch_size * int(processor.max_num_patches**0.5)
    square = image if image.width == image.height else image.resize((side, side), Image.Resampling.BILINEAR)
    read = processor(images=square, return_tensors="pt")
    rows, columns = read["spatial_shapes"][0].tolist()
    return as_image(read["pixel_values"][0], rows=rows, columns=columns, side=processor.patch_size)
