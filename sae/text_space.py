"""The space that images and texts are embedded in, for dictionaries whose directions lie there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sae.activations import FeatureReader
from sae.errors import NoTextTower, UnfitMethod
from sae.hook_point import POOLED

_AT_ONCE = 256


@torch.no_grad()
def embed_texts(reader: FeatureReader, texts: Sequence[str]) -> Tensor:
    """(n, d) float32 embeddings beside the dictionary's directions.

    NoTextTower where the backbone has no texts, UnfitMethod where the dictionary is not on the embedding
    that they are compared with.
    """
    if not reader.backbone.has_text:
        raise NoTextTower("This backbone has no text tower; use a multimodal one such as CLIP.")
    if reader.hook_point != POOLED:
        raise UnfitMethod(
            f"Features at hook point {reader.hook_point!r} do not lie in the space of texts; "
            f"use a dictionary at {POOLED!r}."
        )
    starts = range(0, len(texts), _AT_ONCE)
    return torch.cat(
        [reader.backbone.encode_text(texts[start : start + _AT_ONCE]).float() for start in starts]
    )
