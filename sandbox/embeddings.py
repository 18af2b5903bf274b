"""The held-out scenes at a hook point of one vector an image: embedded once for all dictionaries there."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from sae.backbone import load_backbone
from sae.card import BackboneSpec
from sae.fingerprint import fingerprint
from sae.whole_file import whole_file
from sandbox.heldout import held_out

Floats = npt.NDArray[np.float32]
CHUNK = 250


@lru_cache(maxsize=4)
def embedded(backbone: BackboneSpec, hook_point: str) -> Floats:
    """(scenes, d) activations of a model at 'pooled' or 'logits', or what an earlier call kept of them.

    ``backbone``: located, that is with an absolute source.
    """
    made = fingerprint(backbone.source, backbone.revision)[:16]
    path = cache_folder() / f"heldout-{made}-{hook_point}.npy"
    if path.exists():
        kept: Floats = np.load(path)
        return kept
    found = _embed(backbone, hook_point)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.save(file, found)
    return found


def cache_folder() -> Path:
    """Where what can be worked out again is kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "namesae"


def _embed(spec: BackboneSpec, hook_point: str) -> Floats:
    scenes, backbone = held_out(), load_backbone(spec)
    parts = []
    for start in range(0, len(scenes.scenes), CHUNK):
        rows = range(start, min(len(scenes.scenes), start + CHUNK))
        pixels = backbone.preprocess([scenes.picture(row) for row in rows])
        with torch.no_grad():
            parts.append(backbone.activations(pixels, [hook_point])[hook_point].float().numpy())
    return np.concatenate(parts)
