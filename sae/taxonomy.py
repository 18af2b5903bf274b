"""The same images through dictionaries on several blocks: which feature of one is found in which other, and
where each class of images is told best.

Features are matched by how their activations go together over the images, so that neither widths nor
backbones need be the same; whole dictionaries by the neighbours that images have in their codes (CKNNA).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sae.code_index import CodeIndex
from sae.errors import BadIndex
from sae.feature import Frozen
from sae.measures.cknna import cknna

Doubles = npt.NDArray[np.float64]
MATCHED = 0.5
"""Correlation from which on a feature counts as found again."""
RARE = 3
"""Features active on fewer images than this are left out: a correlation over them says nothing."""
_CHUNK = 1024


class Layer(NamedTuple):
    """A dictionary and what it makes of the images."""

    name: str
    codes: sparse.csc_matrix
    """(n, F) pooled activations."""


class Match(Frozen):
    """A feature and the one that goes with it best elsewhere."""

    feature: int
    other: int
    correlation: float
    mutual: bool
    """Whether it is the other's best, too."""


class Overlap(Frozen):
    """How much of one dictionary is found in another."""

    dictionary: str
    other: str
    compared: int
    """Features of the first active on enough images."""
    share: float | None
    """Of those, the part whose best correlation reaches the threshold; None where there are none."""
    median: float | None
    """Of the best correlations."""
    cknna: float | None
    """Whether images have the same neighbours in both codes, up to 1; None where codes have no structure."""
    matches: tuple[Match, ...]
    """Of every feature compared, the strongest correlation first."""


class Home(Frozen):
    """Where a class of images is told best."""

    label: str
    images: int
    best: tuple[Match, ...]
    """Of each dictionary, in order, the feature that goes with the class best: ``other``; ``feature`` is the
    class's number, and ``mutual`` says that this class is also the feature's best."""
    dictionary: str
    """The one of highest correlation."""


class Taxonomy(Frozen):
    """Which concepts live where."""

    images: int
    threshold: float
    dictionaries: tuple[str, ...]
    overlaps: tuple[Overlap, ...]
    """Of every ordered pair."""
    homes: tuple[Home, ...]
    """Of every class with enough images; empty where images have none."""
    own: tuple[tuple[int, ...], ...]
    """Of each dictionary the features, compared with all others, that are found in none."""


def layer_of(name: str, index: CodeIndex) -> Layer:
    """A dictionary by its code index."""
    columns, card = index.columns, index.card
    held = (columns.ranked.astype(np.float64), columns.rows.astype(np.int64), columns.starts.astype(np.int64))
    codes = sparse.csc_matrix(held, shape=(card.n_images, card.n_features))
    codes.sort_indices()
    return Layer(name, codes)


def taxonomy(
    layers: Sequence[Layer], *, labels: Sequence[str | None] = (), threshold: float = MATCHED
) -> Taxonomy:
    """Compare dictionaries over the same images, in the same order; ``labels``: one an image, or none.

    BadIndex where they are fewer than two or were not given as many images.
    """
    _refuse_unlike(layers, labels)
    overlaps = tuple(
        overlap(first, second, threshold=threshold)
        for first in layers
        for second in layers
        if first is not second
    )
    return Taxonomy(
        images=layers[0].codes.shape[0],
        threshold=threshold,
        dictionaries=tuple(layer.name for layer in layers),
        overlaps=overlaps,
        homes=_homes(layers, labels),
        own=tuple(_own(layer.name, overlaps, threshold=threshold) for layer in layers),
    )


def overlap(first: Layer, second: Layer, *, threshold: float = MATCHED) -> Overlap:
    """How much of the first dictionary is found in the second."""
    found = _matches(_lively(first.codes), _lively(second.codes))
    best = np.array([match.correlation for match in found])
    aligned = cknna(first.codes.tocsr(), second.codes.tocsr())
    return Overlap(
        dictionary=first.name,
        other=second.name,
        compared=len(found),
        share=float((best >= threshold).mean()) if len(found) else None,
        median=float(np.median(best)) if len(found) else None,
        cknna=aligned if np.isfinite(aligned) else None,
        matches=found,
    )


class _Columns(NamedTuple):
    """Columns that vary, and which they were."""

    numbers: npt.NDArray[np.int64]
    unit: sparse.csc_matrix
    """(n, m), each divided by sqrt(n) times its standard deviation."""
    offsets: Doubles
    """(m,) sqrt(n) times the mean of each, after that."""


def _lively(codes: sparse.csc_matrix) -> _Columns:
    n = codes.shape[0]
    active = np.diff(codes.indptr)
    mean = np.asarray(codes.mean(0)).ravel()
    spread = np.sqrt(np.maximum(np.asarray(codes.multiply(codes).mean(0)).ravel() - mean**2, 0))
    kept = np.flatnonzero((active >= min(RARE, n)) & (spread > 1e-9 * np.abs(mean)) & (spread > 0))
    scale = 1 / (np.sqrt(n) * spread[kept])
    return _Columns(kept, (codes[:, kept] @ sparse.diags(scale)).tocsc(), np.sqrt(n) * mean[kept] * scale)


def _correlations(first: _Columns, second: _Columns, chosen: slice) -> Doubles:
    """(c, m) Pearson correlations of some columns of the first with all of the second, by sparse products."""
    product = (first.unit[:, chosen].T @ second.unit).toarray()
    return np.asarray(product - np.outer(first.offsets[chosen], second.offsets), np.float64)


class _Best(NamedTuple):
    rows: npt.NDArray[np.int64]
    """(m1,) of each column of the first, the best of the second, by place."""
    values: Doubles
    columns: npt.NDArray[np.int64]
    """(m2,) the other way round."""


def _best(first: _Columns, second: _Columns) -> _Best:
    rows, values = np.zeros(len(first.numbers), np.int64), np.zeros(len(first.numbers))
    columns, highest = np.zeros(len(second.numbers), np.int64), np.full(len(second.numbers), -np.inf)
    for start in range(0, len(first.numbers), _CHUNK):
        chosen = slice(start, start + _CHUNK)
        found = _correlations(first, second, chosen)
        rows[chosen], values[chosen] = found.argmax(1), found.max(1)
        better = found.max(0) > highest
        columns[better], highest[better] = start + found.argmax(0)[better], found.max(0)[better]
    return _Best(rows, values, columns)


def _matches(first: _Columns, second: _Columns) -> tuple[Match, ...]:
    if not len(first.numbers) or not len(second.numbers):
        return ()
    best = _best(first, second)
    mutual = best.columns[best.rows] == np.arange(len(best.rows))
    return tuple(
        Match(
            feature=int(first.numbers[at]),
            other=int(second.numbers[best.rows[at]]),
            correlation=float(best.values[at]),
            mutual=bool(mutual[at]),
        )
        for at in np.argsort(-best.values, kind="stable")
    )


def _homes(layers: Sequence[Layer], labels: Sequence[str | None]) -> tuple[Home, ...]:
    names = sorted({label for label in labels if label is not None})
    if not names:
        return ()
    places = {name: at for at, name in enumerate(names)}
    rows = [at for at, label in enumerate(labels) if label is not None]
    columns = [places[label] for label in labels if label is not None]
    ones = (np.ones(len(rows)), (rows, columns))
    told = _lively(sparse.csc_matrix(ones, shape=(len(labels), len(names))))
    by_layer = [{each.feature: each for each in _matches(told, _lively(layer.codes))} for layer in layers]
    sizes = np.bincount(columns, minlength=len(names))
    return tuple(
        _home(names[at], int(sizes[at]), [each[at] for each in by_layer], layers)
        for at in told.numbers
        if all(at in each for each in by_layer)
    )


def _home(label: str, images: int, best: Sequence[Match], layers: Sequence[Layer]) -> Home:
    highest = max(range(len(best)), key=lambda at: best[at].correlation)
    return Home(label=label, images=images, best=tuple(best), dictionary=layers[highest].name)


def _own(name: str, overlaps: Sequence[Overlap], *, threshold: float) -> tuple[int, ...]:
    mine = [each for each in overlaps if each.dictionary == name]
    found = {match.feature for each in mine for match in each.matches if match.correlation >= threshold}
    compared = {match.feature for each in mine for match in each.matches}
    return tuple(sorted(compared - found))


def _refuse_unlike(layers: Sequence[Layer], labels: Sequence[str | None]) -> None:
    counts = {layer.codes.shape[0] for layer in layers} | ({len(labels)} if labels else set())
    if len({layer.name for layer in layers}) < 2 or len(layers) != len({layer.name for layer in layers}):
        raise BadIndex("A taxonomy compares dictionaries with each other; give two or more different ones.")
    if len(counts) > 1 or min(counts) < 4:
        raise BadIndex(
            f"Indices of {', '.join(map(str, sorted(counts)))} images cannot be compared; "
            "index the same images, four or more, with every dictionary."
        )
