"""Feature visualisation: the image that makes one feature of a dictionary most active, and no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from sae.activations import FeatureReader
from sae.canvas import Canvas, Palette, Shaking, palette_of, pictures
from sae.errors import UnfitRequest
from sae.relevance.subject import hooked

_STILL = Shaking()


@dataclass(frozen=True)
class Search:
    """How an image is looked for."""

    steps: int = 256
    seeds: tuple[int, ...] = (0,)
    """An image each; none of them depends on the others."""
    press: float = 0.5
    """Weight of the other features' length, which is pressed to 0."""
    rate: float = 0.01
    """Of Adam."""
    shaking: Shaking = _STILL


class Visualised(NamedTuple):
    """An image that was found and what the model makes of it, as it is: not shifted, turned or resized."""

    seed: int
    image: Image.Image
    """As large as the model takes it."""
    activation: float
    """The feature's, of the eight-bit image."""
    share: float
    """The feature's part of the length of all activations: 1 where no other is active."""
    started: float
    """Its activation on the noise that the search began with."""


def visualise(
    reader: FeatureReader,
    feature: int,
    *,
    search: Search | None = None,
    log: Callable[[int], None] = lambda _: None,
) -> tuple[Visualised, ...]:
    """One image a seed, the strongest first; ``log`` hears of every step that is done.

    Maximises h_j - press * |z without j| by Adam, with h the feature's pre-activation, which has a slope
    where the feature is silent, and z the activations of all, pooled over tokens as the dictionary's
    card says. BadDictionary where there is no such feature.
    """
    n = reader.dictionary.n_features
    if not 0 <= feature < n:
        raise UnfitRequest(f"Feature {feature} is not in this dictionary; it has 0 to {n - 1}.")
    search = search or Search()
    backbone = hooked(reader)
    palette = palette_of(backbone.preprocess)
    height, width = palette.black.shape[1:]
    canvas = Canvas(search.seeds, height, width, device=backbone.device)
    started = _reached(reader, palette, canvas.levels(), feature)
    _climb(reader, canvas, palette=palette, feature=feature, search=search, log=log)
    levels = canvas.levels()
    ended = _reached(reader, palette, levels, feature)
    shown = zip(search.seeds, pictures(levels), ended, started, strict=True)
    found = [
        Visualised(seed, image, end.activation, end.share, start.activation)
        for seed, image, end, start in shown
    ]
    return tuple(sorted(found, key=lambda each: -each.activation))


def strip(images: Sequence[Image.Image], *, side: int = 224, gap: int = 8) -> Image.Image:
    """Pictures side by side on white, enlarged to ``side`` pixels where they are smaller."""
    large = [_enlarged(image, side) for image in images]
    width = sum(image.width for image in large) + gap * (len(large) - 1)
    sheet = Image.new("RGB", (width, max(image.height for image in large)), "white")
    left = 0
    for image in large:
        sheet.paste(image, (left, 0))
        left += image.width + gap
    return sheet


class _Reached(NamedTuple):
    activation: float
    share: float


def _climb(
    reader: FeatureReader,
    canvas: Canvas,
    *,
    palette: Palette,
    feature: int,
    search: Search,
    log: Callable[[int], None],
) -> None:
    optimiser = torch.optim.Adam([canvas.spectrum], lr=search.rate)
    for step in range(search.steps):
        with torch.enable_grad():
            pixels = palette.pixels(canvas.shaken(canvas.levels(), search.shaking))
            loss = -_worth(reader, pixels, feature=feature, press=search.press).sum()
            (canvas.spectrum.grad,) = torch.autograd.grad(loss, canvas.spectrum)
        optimiser.step()
        log(step + 1)


def _worth(reader: FeatureReader, pixels: Tensor, *, feature: int, press: float) -> Tensor:
    """(b,) what is maximised."""
    held = hooked(reader).differentiable(pixels, [reader.hook_point])[reader.hook_point]
    dictionary = reader.dictionary
    inputs = reader.select(held.to(dictionary.W_enc.device, torch.float32))
    wanted = reader.pool(dictionary.preactivations(inputs))[:, feature]
    codes = reader.pool(dictionary.encode(inputs))
    others = torch.cat([codes[:, :feature], codes[:, feature + 1 :]], dim=1)
    # The root of 0 has no slope.
    return wanted - press * (others.square().sum(1) + 1e-8).sqrt()


def _reached(reader: FeatureReader, palette: Palette, levels: Tensor, feature: int) -> list[_Reached]:
    bits = (levels.detach() * 255).round() / 255
    codes = torch.from_numpy(reader.read_pixels(palette.pixels(bits).cpu()))
    lengths = codes.norm(dim=1).clamp(min=1e-12)
    own = codes[:, feature]
    return [_Reached(*pair) for pair in zip(own.tolist(), (own / lengths).tolist(), strict=True)]


def _enlarged(image: Image.Image, side: int) -> Image.Image:
    times = max(1, -(-side // min(image.size)))
    return image.resize((image.width * times, image.height * times), Image.Resampling.BICUBIC)
