"""Images that can be optimised: spectra with frequencies and colours on equal terms, and shaking.

Parametrisation and transforms after Olah et al., Feature Visualization, Distill 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

# Brightness, red against blue, green against both: what decorrelates natural colours (Ohta et al. 1980),
# and how far natural images vary along each, about.
_COLOURS = ((1.0, 1.0, -2 / 3), (1.0, 0.0, 4 / 3), (1.0, -1.0, -2 / 3))
_SPREADS = (1.0, 0.3, 0.15)


@dataclass(frozen=True)
class Shaking:
    """How far every step moves what the model sees, so that nothing hangs on single pixels."""

    jitter: float = 0.08
    """Greatest shift, as a share of the side."""
    scale: float = 0.1
    """Greatest change of size."""
    rotation: float = 10.0
    """Degrees."""


class Canvas:
    """Some images, each from a seed, as spectra."""

    def __init__(self, seeds: Sequence[int], height: int, width: int, *, device: torch.device) -> None:
        rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
        distance = (rows**2 + columns**2).sqrt().clamp(min=1 / max(height, width))
        # Natural images have a spectrum of 1 / f; so equal steps move all frequencies alike.
        self._scale = (1 / distance * math.sqrt(height * width) / max(height, width)).to(device)
        self._size = (height, width)
        self._colours = (torch.tensor(_COLOURS) * torch.tensor(_SPREADS)).to(device)
        self._chances = [torch.Generator().manual_seed(seed) for seed in seeds]
        shape = (3, height, width // 2 + 1, 2)
        drawn = torch.stack([torch.randn(shape, generator=chance) for chance in self._chances])
        self.spectrum = (drawn * 0.01).to(device).requires_grad_()
        """(n, 3, h, w // 2 + 1, 2): what is optimised."""

    def levels(self) -> Tensor:
        """(n, 3, h, w) red, green and blue, 0 to 1."""
        waves = torch.view_as_complex(self.spectrum) * self._scale
        planes = torch.fft.irfft2(waves, s=self._size, norm="ortho")
        return torch.sigmoid(torch.einsum("ij,njhw->nihw", self._colours, planes))

    def shaken(self, levels: Tensor, shaking: Shaking) -> Tensor:
        """The same images shifted, resized and turned, each by its own seed's chance."""
        drawn = torch.stack([torch.rand(4, generator=chance) * 2 - 1 for chance in self._chances])
        angle = drawn[:, 0] * math.radians(shaking.rotation)
        size = 1 + drawn[:, 1] * shaking.scale
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
        moved = torch.cat([turn * size[:, None, None], 2 * shaking.jitter * drawn[:, 2:, None]], dim=2)
        grid = F.affine_grid(moved.to(levels), list(levels.shape), align_corners=False)
        return F.grid_sample(levels, grid, padding_mode="reflection", align_corners=False)


@dataclass(frozen=True)
class Palette:
    """What a model's preprocessing makes of colours, for images that are as large as it wants them."""

    black: Tensor
    """(3, h, w)"""
    white: Tensor

    def pixels(self, levels: Tensor) -> Tensor:
        """(n, 3, h, w) levels, 0 to 1, to what the model takes."""
        black, white = self.black.to(levels), self.white.to(levels)
        return black + levels * (white - black)


def palette_of(preprocess: Callable[[Sequence[Image.Image]], Tensor]) -> Palette:
    """Of a model, from a black and a white picture."""
    black, white = preprocess([Image.new("RGB", (512, 512), colour) for colour in ("black", "white")])
    return Palette(black, white)


def pictures(levels: Tensor) -> list[Image.Image]:
    """(n, 3, h, w) levels as pictures of eight bits."""
    held = (levels.detach().cpu() * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return [Image.fromarray(each.numpy()) for each in held]
