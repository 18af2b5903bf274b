"""A map of relevance laid over what the model saw of the image, in black, red, yellow and white."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from sae.relevance.maps import Floats, upsample

ALPHA = 0.5
SHORT_SIDE = 448
"""Pixels; a smaller picture is enlarged."""
_RED, _GREEN = 0.365, 0.746
"""Where red, then green, have reached their full strength."""


def overlay(picture: Image.Image, relevance: Floats, *, alpha: float = ALPHA) -> Image.Image:
    """A (rows, columns) map over a picture of the same extent; its least value black, its greatest white."""
    wide = picture.convert("RGB")
    enlarge = max(1.0, SHORT_SIDE / min(wide.size))
    how = Image.Resampling.NEAREST if enlarge > 2 else Image.Resampling.BICUBIC
    wide = wide.resize((round(wide.width * enlarge), round(wide.height * enlarge)), how)
    return Image.blend(wide, hot(upsample(relevance, wide.size)), alpha)


def hot(relevance: Floats) -> Image.Image:
    """(h, w) as a picture from black over red and yellow to white, between its least and greatest value."""
    low, high = float(relevance.min()), float(relevance.max())
    level = np.zeros_like(relevance) if high <= low else (relevance - low) / (high - low)
    ramps = (level / _RED, (level - _RED) / (_GREEN - _RED), (level - _GREEN) / (1 - _GREEN))
    colours: npt.NDArray[np.float32] = np.stack(ramps, axis=-1).clip(0, 1)
    return Image.fromarray((colours * 255).round().astype(np.uint8))


def seen(preprocess: Callable[[Sequence[Image.Image]], Tensor], image: Image.Image) -> Image.Image:
    """The part of an image that a model's preprocessing leaves, in the image's own colours.

    Black and white pictures tell what the preprocessing does to colours; so it is undone.
    """
    plain = [Image.new("RGB", image.size, colour) for colour in ("black", "white")]
    pixels, black, white = preprocess([image, *plain]).double()
    level = ((pixels - black) / (white - black)).clamp(0, 1).permute(1, 2, 0)
    return Image.fromarray((level.numpy() * 255).round().astype(np.uint8))
