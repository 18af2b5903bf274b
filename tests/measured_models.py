"""Tiny models, dictionaries and labelled pictures that the measures of a dictionary are tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sae.card import BackboneSpec, Origin
from sae.dictionary import SparseDictionary
from sae.image_source import ImageSource, PictureList
from sae.pooling import Pooling
from tests.tiny_models import SIDE, WIDTH, write_open_clip, write_timm

CLASSES = ("red", "green", "blue")
FEATURES = 24


def pictures(n: int, *, seed: int = 0) -> list[Image.Image]:
    """Noise in the colour of its class, class by class in turn."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 120, size=(n, SIDE, SIDE, 3))
    noise[np.arange(n), :, :, np.arange(n) % 3] += 120
    return [Image.fromarray(each.astype(np.uint8)) for each in noise]


def labelled(n: int) -> ImageSource:
    """The same with their classes."""
    shown = pictures(n)
    return PictureList("tiny", shown.__getitem__, n, [CLASSES[at % 3] for at in range(n)], CLASSES)


def write_pictures(folder: Path, n: int, *, classes: tuple[str, ...] = CLASSES) -> Path:
    """The same as files, a subfolder for each class."""
    for at, image in enumerate(pictures(n)):
        place = folder / classes[at % 3]
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{at:03}.png")
    return folder


def lossless() -> SparseDictionary:
    """Every dimension and its negative as a feature: x^ is x."""
    eye = torch.eye(WIDTH)
    return plain("relu", torch.cat([eye, -eye], 1), torch.cat([eye, -eye]))


def random_topk(seed: int = 0, *, k: int = 5) -> SparseDictionary:
    """A TopK dictionary nobody trained."""
    encoder = torch.randn(WIDTH, FEATURES, generator=torch.Generator().manual_seed(seed))
    return plain("topk", encoder, encoder.T / WIDTH, k=k)


def plain(
    architecture: str, W_enc: torch.Tensor, W_dec: torch.Tensor, *, k: int | None = None
) -> SparseDictionary:
    """A dictionary without biases, mean and scale."""
    return SparseDictionary(
        architecture,
        W_enc=W_enc,
        b_enc=torch.zeros(W_enc.shape[1]),
        W_dec=W_dec.contiguous(),
        b_dec=torch.zeros(W_enc.shape[0]),
        mean=torch.zeros(W_enc.shape[0]),
        scale=torch.ones(()),
        k=k,
    )


def write_clip_dictionary(
    root: Path, *, hook_point: str = "block.1", pooling: Pooling = "max", name: str = "tiny", seed: int = 0
) -> Path:
    """A dictionary folder on a tiny open_clip model."""
    if not (root / "clip").is_dir():
        write_open_clip(root / "clip")
    origin = Origin(
        name=name,
        backbone=BackboneSpec(kind="open_clip", source="../clip"),
        hook_point=hook_point,
        pooling=pooling,
    )
    random_topk(seed).save(root / name, origin)
    return root / name


def write_timm_dictionary(root: Path, *, hook_point: str = "pooled", num_classes: int = 5) -> Path:
    """A dictionary folder on a tiny classifier."""
    write_timm(root / "vit", num_classes=num_classes)
    origin = Origin(
        name="tiny-vit", backbone=BackboneSpec(kind="timm", source="../vit"), hook_point=hook_point
    )
    random_topk().save(root / "tiny-vit", origin)
    return root / "tiny-vit"
