"""Facts of every feature of a dictionary: put together, tagged, and kept as one JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from sae.statistics import Ranked, Statistics, firing_facts, top_words
from sae.whole_file import whole_file
from tools.errors import IntegrityError
from tools.exemplars import ProbeSet
from tools.protocols import FeatureFacts, Floats, Ints

_ROWS = TypeAdapter(list[FeatureFacts])


def assemble_facts(
    statistics: Statistics,
    *,
    neighbours: Ints | None = None,
    vocabulary: Sequence[Ranked] = (),
    tags: Sequence[Ranked] = (),
) -> list[FeatureFacts]:
    """One row per feature of a dictionary's statistics; what is left out stays empty.

    ``neighbours``: (F, n); ``vocabulary`` and ``tags``: one per feature, best first.
    """
    count = len(statistics.density)
    for given in (neighbours, vocabulary, tags):
        if given is not None and len(given) not in (0, count):
            raise ValueError(f"{len(given)} rows for {count} features; give one row per feature.")
    return [
        FeatureFacts(
            density=float(statistics.density[at]),
            threshold=float(statistics.threshold[at]),
            p99=float(statistics.p99[at]),
            neighbours=() if neighbours is None else tuple(neighbours[at].tolist()),
            vocabulary=vocabulary[at] if vocabulary else (),
            tags=tags[at] if tags else (),
        )
        for at in range(count)
    ]


def tag_features(
    probe: ProbeSet, similarity: Floats, words: Sequence[str], *, count: int = 12
) -> list[Ranked]:
    """For every feature the words an image-text model sees more of where it fires, best first.

    ``similarity``: (n, V) of the probe images, in their order, and the words. A dead feature has no tags.
    """
    found: list[Ranked] = []
    for index in range(probe.n_features):
        column = probe.activations(index)
        threshold = firing_facts(column).threshold
        fires = bool((column > threshold).any())
        lift = tag_lift(similarity, column, threshold=threshold) if fires else np.zeros(0, np.float32)
        found.append(top_words(lift, words, count=count))
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


def write_facts(path: Path, facts: Sequence[FeatureFacts]) -> None:
    """Write one row per feature, in order of the features, replacing the file in one step."""
    rows = [json.dumps(each.model_dump(mode="json"), separators=(",", ":")) for each in facts]
    with whole_file(path) as partial:
        partial.write_text("[\n" + ",\n".join(rows) + "\n]\n")


def read_facts(path: Path) -> list[FeatureFacts]:
    """The rows of a facts file; IntegrityError when it is not one, FileNotFoundError when absent."""
    try:
        return _ROWS.validate_json(path.read_bytes())
    except ValidationError as error:
        raise IntegrityError(
            f"{path} does not hold feature facts; delete it, it is computed again."
        ) from error
