"""Whether a map of relevance can be believed: what covering and uncovering its patches does to the score.

Deletion and insertion as in RISE (arXiv 1806.07421), on a feature's activation, beside maps of chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from sae.errors import SilentFeature
from sae.intervals import Estimate, bootstrap, paired_difference
from sae.relevance.maps import Floats
from sae.relevance.perturbation import cover
from sae.relevance.subject import Subject

Doubles = npt.NDArray[np.float64]
Fill = Literal["mean", "blur"]
"""What covered patches show: the image's mean colour, or the image blurred to a few spots."""
STEPS = 16
SPOTS = 4
"""A blurred image is this many spots wide."""


class Curves(NamedTuple):
    """Scores as shares of the whole image's; step i of s has i / s of the patches changed, by relevance."""

    deletion: Doubles
    """(b, s + 1) the most relevant patches covered first: the faster it falls, the better."""
    insertion: Doubles
    """(b, s + 1) the most relevant patches uncovered first: the faster it rises, the better."""


class Areas(NamedTuple):
    """Area under each curve, an image a row."""

    deletion: Doubles
    """(b,) lower is better."""
    insertion: Doubles
    """(b,) higher is better."""


class Faithfulness(NamedTuple):
    """A method over some images, with 95 % intervals over images."""

    images: int
    deletion: Estimate
    """Mean area."""
    insertion: Estimate
    deletion_gain: Estimate
    """Mean of the random map's area less the method's, paired by image: above 0 where it beats chance."""
    insertion_gain: Estimate
    """Mean of the method's area less the random map's."""


def curves(subject: Subject, maps: Floats, *, steps: int = STEPS, fill: Fill = "mean") -> Curves:
    """Both curves of (b, rows, columns) maps of the subject's images.

    Patches of equal relevance are taken in a random order, so that a flat map is chance. SilentFeature where
    the score of an image is not above 0.
    """
    whole = subject.score(subject.pixels).numpy().astype(np.float64)
    if not (whole > 0).all():
        raise SilentFeature(
            f"The score of image {int((whole <= 0).argmax())} is not above 0, so there is nothing to delete; "
            "choose images on which the feature is active."
        )
    fills = filled(subject.pixels, fill)
    both = [
        _changed(subject, at, order=order, fill=fills[at]) for at, order in enumerate(_orders(maps, steps))
    ]
    scores = np.stack(both) / whole[:, None, None]
    return Curves(deletion=scores[:, 0], insertion=scores[:, 1])


def areas(found: Curves) -> Areas:
    """Area under each curve, the share of patches running from 0 to 1."""
    return Areas(deletion=_area(found.deletion), insertion=_area(found.insertion))


def random_areas(subject: Subject, *, draws: int = 4, steps: int = STEPS, fill: Fill = "mean") -> Areas:
    """The areas of maps of chance, for each image the mean over several."""
    found: list[Areas] = []
    for draw in range(draws):
        chance = np.random.default_rng([subject.seed, draw])
        maps = chance.random((len(subject.pixels), *subject.grid), np.float32)
        found.append(areas(curves(subject, maps, steps=steps, fill=fill)))
    return Areas(
        deletion=np.mean([each.deletion for each in found], axis=0),
        insertion=np.mean([each.insertion for each in found], axis=0),
    )


def compare(ours: Areas, chance: Areas, *, seed: int) -> Faithfulness:
    """A method's areas beside those of maps of chance on the same images."""
    return Faithfulness(
        images=len(ours.deletion),
        deletion=bootstrap(_mean, [ours.deletion], seed=seed),
        insertion=bootstrap(_mean, [ours.insertion], seed=seed),
        deletion_gain=paired_difference(chance.deletion, ours.deletion, seed=seed),
        insertion_gain=paired_difference(ours.insertion, chance.insertion, seed=seed),
    )


def joined(parts: Sequence[Areas]) -> Areas:
    """Areas of several subjects as those of one."""
    return Areas(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def filled(pixels: Tensor, fill: Fill) -> Tensor:
    """(b, 3, h, w) what is under covered patches."""
    if fill == "mean":
        return pixels.mean((2, 3), keepdim=True).expand_as(pixels)
    spots = functional.adaptive_avg_pool2d(pixels, SPOTS)
    return functional.interpolate(spots, size=pixels.shape[2:], mode="bilinear", align_corners=False)


def _orders(maps: Floats, steps: int) -> list[Tensor]:
    """For each image (steps + 1, patches) of patches that are among the most relevant at each step."""
    b, patches = len(maps), maps[0].size
    chance = np.random.default_rng(0).random((b, patches))
    order = np.lexsort((chance, -maps.reshape(b, patches)), axis=-1)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(patches)[None], axis=1)
    taken = np.round(np.linspace(0, patches, steps + 1))
    return [torch.from_numpy(row[None] < taken[:, None]) for row in rank]


def _changed(subject: Subject, at: int, *, order: Tensor, fill: Tensor) -> Doubles:
    """(2, steps + 1) scores of one image with its first patches covered, and with all others covered."""
    pixels, covered = subject.pixels[at], cover(order, subject)
    changed = torch.cat([torch.where(covered, fill, pixels), torch.where(covered, pixels, fill)])
    return subject.score(changed).view(2, len(order)).numpy().astype(np.float64)


def _area(curve: Doubles) -> Doubles:
    found: Doubles = ((curve[:, 1:] + curve[:, :-1]) / 2).mean(1)
    return found


def _mean(values: Doubles) -> float:
    return float(values.mean())
