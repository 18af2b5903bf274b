"""What the features of a dictionary do on a probe set, and what lies near their directions. numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sae.errors import BadDictionary

STATISTICS_FILE = "statistics.safetensors"
_BLOCK = 1024

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


class Statistics(NamedTuple):
    """Per feature, on a probe set; every array is (F,) float32."""

    density: Floats
    """Share of the images on which the feature is active."""
    p99: Floats
    """99th percentile of its activations where it is active; 0 only where it never is."""
    threshold: Floats
    """Firing threshold, half of p99: the feature fires above it; 0 only where it is never active."""


def probe_statistics(activations: Floats) -> Statistics:
    """Statistics of (n, F) pooled activations; active means above 0."""
    if activations.ndim != 2 or not len(activations):
        raise ValueError(f"Probe activations have shape {activations.shape}; give (n, F) with n > 0.")
    p99 = np.zeros(activations.shape[1], np.float32)
    density = np.zeros_like(p99)
    for feature, column in enumerate(activations.T):
        live = column[column > 0]
        density[feature] = len(live) / len(column)
        if len(live):
            p99[feature] = max(np.percentile(live, 99), np.finfo(np.float32).tiny)
    return Statistics(density=density, p99=p99, threshold=p99 / np.float32(2))


def save_statistics(statistics: Statistics, folder: Path) -> None:
    """Write statistics.safetensors into a dictionary folder, in one step."""
    partial = folder / f".{STATISTICS_FILE}"
    save_file(statistics._asdict(), partial)
    partial.replace(folder / STATISTICS_FILE)


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
    unit = _unit(np.asarray(decoder, np.float32))
    count = min(count, len(unit) - 1)
    nearest = np.empty((len(unit), count), np.int32)
    for start in range(0, len(unit), _BLOCK):
        cosine = unit[start : start + _BLOCK] @ unit.T
        cosine[np.arange(len(cosine)), start + np.arange(len(cosine))] = -np.inf
        nearest[start : start + _BLOCK] = _highest(cosine, count)
    return nearest


def nearest_words(
    decoder: npt.ArrayLike, embeddings: npt.ArrayLike, words: Sequence[str], *, count: int = 8
) -> list[tuple[tuple[str, float], ...]]:
    """Per feature the (word, cosine) nearest its decoder direction (F, d), best first.

    ``embeddings``: (V, d) text embeddings of the words. They are brought to unit length and centred first:
    what all words share is the gap between texts and images and says nothing about a feature.
    """
    directions, text = np.asarray(decoder, np.float32), _unit(np.asarray(embeddings, np.float32))
    if len(words) != len(text) or directions.shape[1] != text.shape[1]:
        raise ValueError(
            f"{len(words)} words, embeddings {text.shape} and directions {directions.shape} do not fit; "
            "give one embedding per word, as wide as the dictionary."
        )
    centred = _unit(text - text.mean(0))
    found: list[tuple[tuple[str, float], ...]] = []
    for start in range(0, len(directions), _BLOCK):
        cosine = _unit(directions[start : start + _BLOCK]) @ centred.T
        for row, best in zip(cosine, _highest(cosine, min(count, len(words))), strict=True):
            found.append(tuple((words[i], float(row[i])) for i in best))
    return found


def _unit(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Floats = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return unit


def _highest(rows: Floats, count: int) -> Ints:
    """(n, count) columns of the highest values of each row, highest first; ties by the lower column."""
    return np.argsort(-rows, axis=1, kind="stable")[:, :count].astype(np.int32)
