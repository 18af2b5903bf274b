"""One call for every way of saying where in an image a feature looks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from sae.activations import FeatureReader
from sae.errors import SilentFeature, UnfitMethod
from sae.relevance.perturbation import activation, gradient_input, occlusion, random
from sae.relevance.rollout import chefer, chefer_rows, rollout
from sae.relevance.subject import Subject, subject_of
from sae.relevance.target import Target

Floats = npt.NDArray[np.float32]

METHODS: dict[str, Callable[[Subject], Tensor]] = {
    "activation": activation,
    "chefer": chefer,
    "chefer-rows": chefer_rows,
    "rollout": partial(rollout),
    "gradient-input": gradient_input,
    "occlusion": occlusion,
    "random": random,
}
"""From a subject to its (b, rows * columns) maps."""


def relevance(
    reader: FeatureReader, image: Image.Image, target: Target, method: str, *, seed: int = 0
) -> Floats:
    """(rows, columns) how far each patch of an image makes a target as strong as it is; higher is more.

    Units differ between methods. SilentFeature where the target's score on the image is 0, UnfitMethod or
    NoAttention where a method does not fit the dictionary or its backbone.
    """
    pixels = reader.backbone.preprocess([image])
    subject = subject_of(reader, pixels, target=target, seed=seed)
    found = map_subject(subject, method)[0]
    if float(subject.score(subject.pixels)[0]) == 0:
        raise SilentFeature(
            "The feature is not active on this image, so no part of it is relevant; choose an image on which "
            "it is."
        )
    return np.asarray(found)


def relevance_maps(
    reader: FeatureReader, pixels: Tensor, *, target: Target, method: str, seed: int = 0
) -> Floats:
    """(b, rows, columns) maps of preprocessed (b, 3, h, w) images; flat where a target's score is 0."""
    return map_subject(subject_of(reader, pixels, target=target, seed=seed), method)


def map_subject(subject: Subject, method: str) -> Floats:
    """(b, rows, columns) by a method's name; UnfitMethod lists the names there are."""
    if method not in METHODS:
        raise UnfitMethod(f"Method {method!r} does not exist; there are {', '.join(METHODS)}.")
    found = METHODS[method](subject).detach().reshape(-1, *subject.grid)
    return np.asarray(found.numpy(), np.float32)


def fitting_method(reader: FeatureReader) -> str:
    """What to use where nobody said: the codes of patch tokens if there are any, else Chefer's by shares."""
    return "chefer-rows" if reader.pooling in ("none", "cls") else "activation"


def upsample(maps: Floats, size: tuple[int, int]) -> Floats:
    """(..., rows, columns) to (..., height, width) for ``size`` = (width, height), bilinear."""
    laid = torch.from_numpy(np.ascontiguousarray(maps)).reshape(-1, 1, *maps.shape[-2:])
    wide = functional.interpolate(laid, size=size[::-1], mode="bilinear", align_corners=False)
    found: Floats = wide.reshape(*maps.shape[:-2], *size[::-1]).numpy()
    return found
