"""What a shipped dictionary does on the held-out scenes: all activations and the fit, measured once and
kept.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from sae.activations import FeatureReader, open_reader
from sae.backbone import LOGITS, POOLED
from sae.card import read_card
from sae.dictionary import SparseDictionary, load_dictionary
from sae.fingerprint import fingerprint
from sae.fit import Fit, measure_fit
from sandbox.embeddings import CHUNK, cache_folder, embedded
from sandbox.heldout import HeldOut, held_out

Floats = npt.NDArray[np.float32]
VECTORS = (POOLED, LOGITS)
"""Hook points that hold one vector an image."""
FIT_SCENES = 4_000
"""Scenes whose tokens are reconstructed to measure the fit of a dictionary on patch tokens."""


class Measured(NamedTuple):
    """A dictionary on the held-out scenes."""

    activations: Floats
    """(scenes, F), pooled as its card says."""
    fit: Fit
    """Per token where there are tokens; ``silent`` over all scenes."""


@lru_cache(maxsize=8)
def measure(folder: Path) -> Measured:
    """Measure a dictionary folder, or read what an earlier call with the same files measured."""
    card = read_card(folder)
    backbone = card.backbone.located(folder)
    key = f"{card.weights[:16]}-{fingerprint(backbone.source, backbone.revision)[:16]}"
    path = cache_folder() / f"heldout-{card.name}-{key}.npz"
    if path.exists():
        with np.load(path) as kept:
            return Measured(_dense(kept), Fit(*(float(value) for value in kept["fit"])))
    if card.pooling == "none" and card.hook_point in VECTORS:
        measured = _read_off(embedded(backbone, card.hook_point), load_dictionary(folder))
    else:
        measured = _measure(open_reader(folder, batch_size=CHUNK), held_out())
    _keep(path, measured)
    return measured


def _keep(path: Path, measured: Measured) -> None:
    rows, columns = np.nonzero(measured.activations)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    np.savez_compressed(
        partial,
        rows=rows.astype(np.int32),
        columns=columns.astype(np.int16),
        values=measured.activations[rows, columns],
        shape=np.array(measured.activations.shape),
        fit=np.array(measured.fit),
    )
    partial.replace(path)


def _dense(kept: np.lib.npyio.NpzFile) -> Floats:
    activations = np.zeros(tuple(kept["shape"]), np.float32)
    activations[kept["rows"], kept["columns"]] = kept["values"]
    return activations


@torch.no_grad()
def _read_off(inputs: Floats, dictionary: SparseDictionary) -> Measured:
    """A dictionary on what a hook point holds of all scenes."""
    x = torch.from_numpy(inputs)
    found = np.concatenate([dictionary.encode(part).numpy() for part in torch.split(x, CHUNK)])
    fit = measure_fit(dictionary, x)
    return Measured(found, fit._replace(silent=float((found.max(0) <= 0).mean())))


@torch.no_grad()
def _measure(reader: FeatureReader, scenes: HeldOut) -> Measured:
    n = len(scenes.scenes)
    found = np.empty((n, reader.dictionary.n_features), np.float32)
    tokens: list[torch.Tensor] = []
    for start in range(0, n, CHUNK):
        pixels = reader.backbone.preprocess(
            [scenes.picture(row) for row in range(start, min(n, start + CHUNK))]
        )
        found[start : start + len(pixels)] = reader.encode(pixels).numpy()
        if start < FIT_SCENES:
            tokens.append(reader.inputs(pixels))
    fit = measure_fit(reader.dictionary, torch.cat(tokens))
    return Measured(found, fit._replace(silent=float((found.max(0) <= 0).mean())))
