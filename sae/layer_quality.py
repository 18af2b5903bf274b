"""What the activations of each hook point are like, to choose one to train a dictionary on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.backbone import VisionBackbone
from sae.errors import BadImages
from sae.feature import Frozen
from sae.image_source import ImageSource
from sae.measures.cknna import cknna
from sae.store.extract import activations_of
from sae.store.manifest import HookPart, Scope
from sae.store.moments import moments_of
from sae.store.pixels import PixelReader, Prepared
from sae.store.tokens import hook_parts

NEIGHBOURS = 10
OUTLIER = 6.0
"""A dimension is an outlier where its root mean square is this many times the median one's."""
MASSIVE = 5.0
"""A token is massive where its norm is this many times the median one's."""
ALIGNED_IMAGES = 1000
"""Images whose neighbours are compared between hook points."""

Doubles = npt.NDArray[np.float64]


class LayerQuality(Frozen):
    """One hook point."""

    hook_point: str
    scope: Scope
    width: int
    tokens: int
    """Of every image."""
    rows: int
    """Tokens that the figures are of."""
    norm: float
    """Median length of a token."""
    variance: float
    """Mean over the dimensions."""
    gamma: float | None
    """||mean|| / ||standard deviation||; above 1, centre before training (arXiv 2605.31518)."""
    effective_rank: float
    """exp of the entropy of the covariance's eigenvalues (Roy and Vetterli 2007), at most the width."""
    kurtosis: float
    """Excess kurtosis, mean over the dimensions; 0 for normal ones."""
    outlier_dimensions: int
    massive_tokens: float
    """Share of the tokens."""
    separability: float | None
    """Share of the images' variance that lies between classes, less what chance gives (epsilon squared)."""
    purity: float | None
    """Share of an image's 10 nearest, by cosine, that are of its class."""
    purity_by_chance: float | None


class Alignment(Frozen):
    """How much two hook points agree about which images are neighbours."""

    first: str
    second: str
    cknna: float | None
    """None where one has no structure."""


class LayerTable(Frozen):
    """All hook points on the same images."""

    images: int
    skipped: int
    """Images that could not be decoded."""
    classes: int
    layers: tuple[LayerQuality, ...]
    alignment: tuple[Alignment, ...]


class LayerOptions(Frozen):
    """What is looked at."""

    scope: Scope = "patch"
    rows: int = 8192
    """Tokens of each hook point that lie in memory, evenly many of every image."""
    batch_size: int = 32
    seed: int = 0


def measure_layers(
    source: ImageSource,
    backbone: VisionBackbone,
    *,
    hook_points: Sequence[str],
    options: LayerOptions | None = None,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> LayerTable:
    """Read images once and measure every hook point. ``told`` hears the images done and of how many.

    An image stands for itself by the mean of its tokens. BadImages for fewer than 4 readable images;
    BadStore, UnknownHookPoint where a hook point does not fit the scope.
    """
    options = options or LayerOptions()
    parts = hook_parts(backbone, hook_points, options.scope)
    sample = _Sample(parts, seed=options.seed, each=-(-options.rows // len(source)))
    with closing(PixelReader(source, backbone).read(range(len(source)), skip=True)) as images:
        batch: list[Prepared] = []
        for done, image in enumerate(images, start=1):
            batch += [image] if isinstance(image, Prepared) else []
            if batch and (len(batch) == options.batch_size or done == len(source)):
                sample.add(batch, activations_of(batch, parts, backbone, size=options.batch_size))
                batch = []
                told(done, len(source))
    if len(sample.labels) < 4:
        raise BadImages(f"Only {len(sample.labels)} images of {source.name} can be read; give at least 4.")
    classes = sample.classes()
    return LayerTable(
        images=len(sample.labels),
        skipped=len(source) - len(sample.labels),
        classes=0 if classes is None else len(np.unique(classes)),
        layers=tuple(_layer(part, sample, classes=classes) for part in parts),
        alignment=_alignments(parts, sample),
    )


class _Sample:
    """Some tokens of every image and the mean of all of them, at each hook point."""

    def __init__(self, parts: Sequence[HookPart], *, seed: int, each: int) -> None:
        self._seed, self._each = seed, each
        self._tokens: dict[str, list[Tensor]] = {part.folder: [] for part in parts}
        self._means: dict[str, list[Tensor]] = {part.folder: [] for part in parts}
        self.labels: list[str | None] = []

    def add(self, images: Sequence[Prepared], held: dict[str, Tensor]) -> None:
        self.labels.extend(image.entry.label for image in images)
        for folder, tokens in held.items():
            exact = tokens.float().cpu()
            # By the image alone, so that other hook points do not change which tokens are taken.
            chosen = [self._chosen(image.entry.row, exact.shape[1]) for image in images]
            self._tokens[folder].append(torch.cat([row[at] for row, at in zip(exact, chosen, strict=True)]))
            self._means[folder].append(exact.mean(1))

    def _chosen(self, image: int, tokens: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self._seed, image]).permutation(tokens)[: self._each]

    def rows(self, part: HookPart) -> Tensor:
        return torch.cat(self._tokens[part.folder])

    def means(self, part: HookPart) -> Doubles:
        return torch.cat(self._means[part.folder]).double().numpy()

    def classes(self) -> npt.NDArray[np.int64] | None:
        """(n,) numbers of classes; None unless there are two and every image has one."""
        if None in self.labels or len(set(self.labels)) < 2:
            return None
        return np.unique(np.array(self.labels), return_inverse=True)[1]


def _layer(part: HookPart, sample: _Sample, *, classes: npt.NDArray[np.int64] | None) -> LayerQuality:
    rows, means = sample.rows(part).double(), sample.means(part)
    moments, norms = moments_of(rows), rows.norm(dim=1)
    size = rows.square().mean(0).sqrt()
    return LayerQuality(
        hook_point=part.hook_point,
        scope=part.scope,
        width=part.width,
        tokens=part.tokens,
        rows=len(rows),
        norm=float(norms.median()),
        variance=float(moments.variance.mean()),
        gamma=moments.gamma,
        effective_rank=effective_rank(rows),
        kurtosis=excess_kurtosis(rows),
        outlier_dimensions=int((size > OUTLIER * size.median()).sum()),
        massive_tokens=float((norms > MASSIVE * norms.median()).double().mean()),
        separability=None if classes is None else separability(means, classes),
        purity=None if classes is None else purity(means, classes),
        purity_by_chance=None if classes is None else purity_by_chance(classes),
    )


def effective_rank(rows: Tensor) -> float:
    """exp(-sum p log p), p the covariance's eigenvalues over their sum; 0 where nothing varies."""
    centred = rows.double() - rows.double().mean(0)
    values = torch.linalg.svdvals(centred).square() if len(rows) < rows.shape[1] else _eigenvalues(centred)
    total = float(values.sum())
    if total <= 0:
        return 0.0
    share = values[values > 1e-12 * total] / total
    return math.exp(-float((share * share.log()).sum()))


def _eigenvalues(centred: Tensor) -> Tensor:
    values: Tensor = torch.linalg.eigvalsh(centred.T @ centred)
    return values.clamp(min=0)


def excess_kurtosis(rows: Tensor) -> float:
    """Mean over the dimensions that vary of m4 / m2^2 - 3; 0 where none does."""
    centred = rows.double() - rows.double().mean(0)
    second, fourth = centred.square().mean(0), centred.pow(4).mean(0)
    varies = second > 1e-12 * second.max()
    return float((fourth[varies] / second[varies].square() - 3).mean()) if bool(varies.any()) else 0.0


def separability(vectors: Doubles, classes: npt.NDArray[np.int64]) -> float | None:
    """Epsilon squared of (n, d) vectors, 1 - (within / (n - c)) / (total / (n - 1)).

    None where every image is a class of its own, or all vectors are equal.
    """
    n, found = len(vectors), np.unique(classes)
    total = float(((vectors - vectors.mean(0)) ** 2).sum())
    parts = [vectors[classes == each] for each in found]
    within = sum(float(((part - part.mean(0)) ** 2).sum()) for part in parts)
    return None if n == len(found) or total == 0 else 1 - (within / (n - len(found))) / (total / (n - 1))


def purity(vectors: Doubles, classes: npt.NDArray[np.int64], *, neighbours: int = NEIGHBOURS) -> float:
    """Share of the nearest of each of (n, d) vectors, by cosine, that are of its class."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    count = min(neighbours, len(vectors) - 1)
    nearest = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
    return float((classes[nearest] == classes[:, None]).mean())


def purity_by_chance(classes: npt.NDArray[np.int64]) -> float:
    """What purity is on average where neighbours are drawn at random."""
    counts, n = np.bincount(classes).astype(np.float64), len(classes)
    return float((counts * (counts - 1)).sum() / (n * (n - 1)))


def _alignments(parts: Sequence[HookPart], sample: _Sample) -> tuple[Alignment, ...]:
    means = {part.hook_point: sample.means(part) for part in parts}
    step = -(-len(sample.labels) // ALIGNED_IMAGES)
    return tuple(
        Alignment(first=a, second=b, cknna=_known(cknna(means[a][::step], means[b][::step])))
        for a, b in combinations(means, 2)
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
