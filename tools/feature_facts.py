"""Facts of every feature of a dictionary: neighbours, nearest words, tags; computed once and kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tools.errors import IntegrityError
from tools.protocols import FeatureFacts, Floats, Ints

_BLOCK = 1024
_ROWS = TypeAdapter(list[FeatureFacts])

Ranked = tuple[tuple[str, float], ...]


def _unit(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = np.divide(rows, np.maximum(length, 1e-12), dtype=np.float32)
    return unit


def nearest_features(decoder: Floats, *, count: int = 8) -> Ints:
    """For each row of an (F, d) decoder the ``count`` other rows of highest cosine, nearest first."""
    unit = _unit(decoder)
    count = min(count, len(unit) - 1)
    found = np.zeros((len(unit), count), dtype=np.int32)
    for start in range(0, len(unit), _BLOCK):
        cosine = unit[start : start + _BLOCK] @ unit.T
        cosine[np.arange(len(cosine)), np.arange(start, start + len(cosine))] = -np.inf
        found[start : start + _BLOCK] = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
    return found


def nearest_words(
    decoder: Floats, embeddings: Floats, words: Sequence[str], *, count: int = 12
) -> list[Ranked]:
    """For each row of an (F, d) decoder the words whose (V, d) text embeddings have the highest cosine.

    Meaningful only where the dictionary lives in the joint image-text space of a multimodal backbone.
    """
    if len(words) != len(embeddings) or decoder.shape[1] != embeddings.shape[1]:
        raise ValueError(
            f"{len(words)} words, embeddings {embeddings.shape} and decoder {decoder.shape} do not fit; "
            "give one embedding per word, as wide as the decoder."
        )
    text, unit = _unit(embeddings), _unit(decoder)
    found: list[Ranked] = []
    for start in range(0, len(unit), _BLOCK):
        found += [top_words(row, words, count=count) for row in unit[start : start + _BLOCK] @ text.T]
    return found


def tag_lift(similarity: Floats, activations: Floats, *, threshold: float = 0.0) -> Floats:
    """How much more of each word an image-text model sees where a feature fires than in the probe set.

    ``similarity``: (n, V) zero-shot probabilities or cosines; ``activations``: (n,) of one feature. Returns
    (V,): mean over the images above ``threshold`` minus mean over all, in units of the word's standard
    deviation over all images; 0 for a word that never varies. ValueError when the feature fires nowhere.
    """
    if len(similarity) != len(activations):
        raise ValueError(f"{len(similarity)} similarities for {len(activations)} activations; give one each.")
    fires = activations > threshold
    if not fires.any():
        raise ValueError(f"No activation exceeds {threshold}; a feature that never fires has no tags.")
    exact = similarity.astype(np.float64)
    spread = exact.std(axis=0)
    lift = exact[fires].mean(axis=0) - exact.mean(axis=0)
    lift = np.divide(lift, spread, out=np.zeros_like(lift), where=spread > 1e-9)
    return np.asarray(lift, dtype=np.float32)


def top_words(scores: Floats, words: Sequence[str], *, count: int = 12) -> Ranked:
    """The words of highest score with their scores, best first; ties keep the order of the words."""
    best = np.argsort(-scores, kind="stable")[:count]
    return tuple((words[at], float(scores[at])) for at in best)


def write_facts(path: Path, facts: Sequence[FeatureFacts]) -> None:
    """Write one row per feature, in order of the features, replacing the file in one step."""
    partial = path.with_name(f"{path.name}.partial")
    rows = [json.dumps(each.model_dump(mode="json"), separators=(",", ":")) for each in facts]
    partial.write_text("[\n" + ",\n".join(rows) + "\n]\n")
    partial.replace(path)


def read_facts(path: Path) -> list[FeatureFacts]:
    """The rows of a facts file; IntegrityError when it is not one, FileNotFoundError when absent."""
    try:
        return _ROWS.validate_json(path.read_bytes())
    except ValidationError as error:
        raise IntegrityError(
            f"{path} does not hold feature facts; delete it, it is computed again."
        ) from error
