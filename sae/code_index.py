"""What every feature does on every image of a set, kept on disk and asked in milliseconds.

The non-zero activations lie there twice: by image, and by feature with its images strongest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sae.code_index_columns import Columns, Floats, IndexCard, Ints, Longs, Rows, open_columns, read_card
from sae.errors import BadIndex
from sae.statistics import unit_rows

MOST_ROWS = 4096
"""Images of a feature that ``together`` looks at; of more, as many evenly over its activations."""


class Found(NamedTuple):
    """An image and the activation of the feature that was asked for."""

    row: int
    """Of the image source, from 0."""
    activation: float


class Band(NamedTuple):
    """Some images of one part of the distribution of a feature's non-zero activations."""

    low: float
    high: float
    """Quantiles of the non-zero activations."""
    images: tuple[Found, ...]
    """Strongest first."""


class ClassActivation(NamedTuple):
    """What a feature does on one class of images."""

    label: str
    n_images: int
    """Of the class."""
    n_active: int
    """Of those, on which the feature is active."""
    mean: float
    """Mean activation over all images of the class."""


class Companion(NamedTuple):
    """A feature that is active where another one is."""

    feature: int
    jaccard: float
    """Images on which both are active over images on which either is."""
    share: float
    """Share of the other's images on which this one is active."""


class Neighbour(NamedTuple):
    """A feature whose decoder direction lies near another's."""

    feature: int
    cosine: float


@dataclass(frozen=True)
class CodeIndex:
    """An index on disk, opened. Every answer reads only what it needs."""

    card: IndexCard
    columns: Columns

    def key(self, row: int) -> str:
        """What the image source calls an image, e.g. its path in the folder."""
        start, end = self.columns.key_starts[row : row + 2]
        return bytes(self.columns.key_text[start:end]).decode("utf-8", "surrogateescape")

    def sha256(self, row: int) -> str:
        """The image's, lower-case hex."""
        return bytes(self.columns.sums[row]).hex()

    def label(self, row: int) -> str | None:
        """The image's class."""
        at = int(self.columns.labels[row])
        return None if at < 0 else self.card.classes[at]

    def code(self, row: int) -> tuple[Ints, Floats]:
        """The features active on an image, ascending, and their activations."""
        start, end = self.columns.offsets[row : row + 2]
        return self.columns.features[start:end], self.columns.values[start:end]

    def images(self, feature: int) -> tuple[Rows, Floats]:
        """All images on which a feature is not 0, strongest first, and its activations there."""
        if not 0 <= feature < self.card.n_features:
            raise BadIndex(f"Feature {feature} is not in this index; it has 0 to {self.card.n_features - 1}.")
        start, end = self.columns.starts[feature : feature + 2]
        return self.columns.rows[start:end], self.columns.ranked[start:end]

    def activations(self, feature: int) -> Floats:
        """(n,) activations of a feature on all images."""
        dense = np.zeros(self.card.n_images, np.float32)
        rows, values = self.images(feature)
        dense[rows] = values
        return dense

    def top(self, feature: int, *, count: int = 12) -> tuple[Found, ...]:
        """The images of highest activation, at most ``count``; none where the feature is dead."""
        rows, values = self.images(feature)
        return _found(rows[:count], values[:count])

    def band(self, feature: int, *, low: float, high: float, count: int = 12) -> Band:
        """The ``count`` strongest images between two quantiles of the non-zero activations.

        The i-th strongest of m has quantile 1 - (i + 1/2) / m.
        """
        if not (0 <= low < high <= 1) or count < 1:
            raise ValueError(f"Band [{low}, {high}] of {count} images is none; use 0 <= low < high <= 1.")
        rows, values = self.images(feature)
        first = max(0, int(np.ceil((1 - high) * len(rows) - 0.5)))
        last = max(first, int(np.floor((1 - low) * len(rows) - 0.5)) + 1)
        chosen = slice(first, min(last, first + count))
        return Band(low, high, _found(rows[chosen], values[chosen]))

    def bands(self, feature: int, *, count: int = 5, images: int = 4) -> tuple[Band, ...]:
        """``count`` equal parts of the distribution, strongest first, some images from the middle of each."""
        rows, values = self.images(feature)
        edges = np.linspace(1, 0, count + 1)
        parts: list[Band] = []
        for high, low in pairwise(edges):
            start, end = round((1 - high) * len(rows)), round((1 - low) * len(rows))
            at = start + max(0, end - start - images) // 2
            chosen = slice(at, min(end, at + images))
            parts.append(Band(float(low), float(high), _found(rows[chosen], values[chosen])))
        return tuple(parts)

    def classes(self, feature: int, *, count: int | None = None) -> tuple[ClassActivation, ...]:
        """Classes by mean activation, highest first, at most ``count``; none where images have no class."""
        n = len(self.card.classes)
        rows, values = self.images(feature)
        labels = self.columns.labels[rows]
        labelled = labels >= 0
        active = np.bincount(labels[labelled], minlength=n)
        total = np.bincount(labels[labelled], weights=values[labelled], minlength=n)
        sizes = np.bincount(self.columns.labels[self.columns.labels >= 0], minlength=n)
        means = total / np.maximum(sizes, 1)
        best = [int(at) for at in np.argsort(-means, kind="stable")[:count] if sizes[at]]
        return tuple(
            ClassActivation(self.card.classes[at], int(sizes[at]), int(active[at]), float(means[at]))
            for at in best
        )

    def together(self, feature: int, *, count: int = 8) -> tuple[Companion, ...]:
        """The features most often active with this one, by Jaccard index; those never are left out.

        Of a feature active on more than MOST_ROWS images the shared ones are estimated from as many.
        """
        rows, _ = self.images(feature)
        sample = rows[_evenly(len(rows), MOST_ROWS)]
        starts, ends = self.columns.offsets[sample], self.columns.offsets[sample.astype(np.int64) + 1]
        seen = np.bincount(
            self.columns.features[_ranges(starts, ends)], minlength=self.card.n_features
        ).astype(np.float64)
        share = seen / max(len(sample), 1)
        both = share * len(rows)
        jaccard = both / np.maximum(len(rows) + np.diff(self.columns.starts) - both, 1e-9)
        jaccard[feature] = 0
        best = np.argsort(-jaccard, kind="stable")[:count]
        return tuple(
            Companion(int(at), float(jaccard[at]), float(share[at])) for at in best if jaccard[at] > 0
        )

    @property
    def n_active(self) -> Longs:
        """(F,) images on which each feature is not 0."""
        counts: Longs = np.diff(self.columns.starts)
        return counts

    def strongest(self, count: int) -> tuple[int, ...]:
        """The ``count`` features of highest mean activation over all images, the dead left out."""
        means = self.columns.means
        best = np.argsort(-means, kind="stable")[:count]
        return tuple(int(at) for at in best if self.n_active[at])


class Directions:
    """Decoder directions brought to unit length once, so that one feature's neighbours cost one product."""

    def __init__(self, decoder: npt.ArrayLike) -> None:
        """``decoder``: (F, d)."""
        self._unit = unit_rows(np.asarray(decoder, np.float32))

    def nearest(self, feature: int, *, count: int = 8) -> tuple[Neighbour, ...]:
        """Other features of highest cosine, nearest first."""
        cosine = self._unit @ self._unit[feature]
        cosine[feature] = -np.inf
        count = min(count, len(cosine) - 1)
        best = np.argpartition(-cosine, count)[:count] if count else np.empty(0, np.intp)
        best = best[np.argsort(-cosine[best], kind="stable")]
        return tuple(Neighbour(int(at), float(cosine[at])) for at in best)


def open_index(folder: Path) -> CodeIndex:
    """The index in a folder; BadIndex where there is none or it is not whole."""
    card = read_card(folder)
    return CodeIndex(card, open_columns(folder, card))


def _found(rows: Sequence[int] | Rows, values: Sequence[float] | Floats) -> tuple[Found, ...]:
    return tuple(Found(int(row), float(value)) for row, value in zip(rows, values, strict=True))


def _evenly(length: int, most: int) -> npt.NDArray[np.intp]:
    """At most ``most`` places of a row, evenly over it."""
    return np.arange(length) if length <= most else (np.arange(most) * length // most)


def _ranges(starts: Longs, ends: Longs) -> Longs:
    """start, start + 1, ..., end - 1 of each pair, one after another."""
    lengths = ends - starts
    first = np.repeat(starts - np.append(0, lengths.cumsum()[:-1]), lengths) if len(lengths) else starts
    places: Longs = first + np.arange(lengths.sum())
    return places
