"""What the features of a dictionary do on a probe set, and what lies near their directions. numpy alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sae.errors import BadDictionary
from sae.whole_file import whole_file

STATISTICS_FILE = "statistics.safetensors"
_BLOCK = 1024

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Ranked = tuple[tuple[str, float], ...]
"""Words with their scores, best first."""


class Statistics(NamedTuple):
    """Per feature, on a probe set; every array is (F,) float32."""

    density: Floats
    """Share of the images on which the feature is active."""
    p99: Floats
    """99th percentile of its activations where it is active; 0 only where it never is."""
    threshold: Floats
    """Firing threshold, half of p99: the feature fires above it; 0 only where it is never active."""


class FiringFacts(NamedTuple):
    """What one feature's activations on a probe set say about when it fires; fields as in Statistics."""

    density: float
    threshold: float
    p99: float


def firing_facts(activations: Floats, *, n_images: int | None = None) -> FiringFacts:
    """Density over the images, half the 99th percentile of the positive activations, that percentile.

    ``n_images`` when ``activations`` holds only the non-zero ones.
    """
    live = activations[activations > 0]
    if not len(live):
        return FiringFacts(density=0.0, threshold=0.0, p99=0.0)
    p99 = max(float(np.percentile(live, 99)), float(np.finfo(np.float32).tiny))
    return FiringFacts(density=len(live) / (n_images or len(activations)), threshold=p99 / 2, p99=p99)


def statistics_of(columns: Iterable[Floats]) -> Statistics:
    """Statistics of features that come one by one, each with its activations on all n images, (n,)."""
    rows = [firing_facts(column) for column in columns]
    return Statistics(
        density=np.array([row.density for row in rows], np.float32),
        p99=np.array([row.p99 for row in rows], np.float32),
        threshold=np.array([row.threshold for row in rows], np.float32),
    )


def probe_statistics(activations: Floats) -> Statistics:
    """Statistics of (n, F) pooled activations; active means above 0."""
    if activations.ndim != 2 or not len(activations):
        raise ValueError(f"Probe activations have shape {activations.shape}; give (n, F) with n > 0.")
    return statistics_of(activations.T)


def save_statistics(statistics: Statistics, folder: Path) -> None:
    """Write statistics.safetensors into a dictionary folder, in one step."""
    with whole_file(folder / STATISTICS_FILE) as partial:
        save_file(statistics._asdict(), partial)


def load_statistics(folder: Path) -> Statistics:
    """The statistics in a dictionary folder; BadDictionary when there are none or they are not whole."""
    path = folder / STATISTICS_FILE
    try:
        statistics = Statistics(**load_file(path))
    except (OSError, SafetensorError, TypeError) as error:
        raise BadDictionary(f"{path} holds no whole statistics; measure its probe set again.") from error
    if len({array.shape for array in statistics}) != 1 or statistics.density.ndim != 1:
        raise BadDictionary(f"{path} holds arrays of different lengths; measure its probe set again.")
    return statistics


def decoder_neighbours(decoder: npt.ArrayLike, *, count: int = 8) -> Ints:
    """(F, count) other features of the highest cosine between decoder directions (F, d), nearest first."""
    unit = unit_rows(np.asarray(decoder, np.float32))
    count = min(count, len(unit) - 1)
    nearest = np.empty((len(unit), count), np.int32)
    for start in range(0, len(unit), _BLOCK):
        cosine = unit[start : start + _BLOCK] @ unit.T
        cosine[np.arange(len(cosine)), start + np.arange(len(cosine))] = -np.inf
        nearest[start : start + _BLOCK] = _highest(cosine, count)
    return nearest


def nearest_words(
    decoder: npt.ArrayLike, embeddings: npt.ArrayLike, words: Sequence[str], *, count: int = 8
) -> list[Ranked]:
    """Per feature the (word, cosine) nearest its decoder direction (F, d), best first.

    ``embeddings``: (V, d) text embeddings of the words. They are brought to unit length and centred first:
    what all words share is the gap between texts and images and says nothing about a feature.
    """
    directions, text = np.asarray(decoder, np.float32), unit_rows(np.asarray(embeddings, np.float32))
    if len(words) != len(text) or directions.shape[1] != text.shape[1]:
        raise ValueError(
            f"{len(words)} words, embeddings {text.shape} and directions {directions.shape} do not fit; "
            "give one embedding per word, as wide as the dictionary."
        )
    centred = unit_rows(text - text.mean(0))
    found: list[Ranked] = []
    for start in range(0, len(directions), _BLOCK):
        cosine = unit_rows(directions[start : start + _BLOCK]) @ centred.T
        found += [top_words(row, words, count=count) for row in cosine]
    return found


def top_words(scores: npt.NDArray[np.floating[Any]], words: Sequence[str], *, count: int = 12) -> Ranked:
    """The words of highest score, (V,), with their scores; ties keep the order of the words."""
    best = np.argsort(-scores, kind="stable")[:count]
    return tuple((words[at], float(scores[at])) for at in best)


def unit_rows(rows: Floats) -> Floats:
    """(n, d) rows brought to unit length; a row of zeros stays."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Floats = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return unit


def _highest(rows: Floats, count: int) -> Ints:
    """(n, count) columns of the highest values of each row, highest first; ties by the lower column."""
    return np.argsort(-rows, axis=1, kind="stable")[:, :count].astype(np.int32)
