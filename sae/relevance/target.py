"""What a map of relevance is about: a feature, or a word by the features whose decoder directions it lies
near.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sae.activations import FeatureReader
from sae.errors import UnfitRequest
from sae.text_space import embed_texts

KEPT = 10
"""Features of a word that count on an image."""


class Target(NamedTuple):
    """A weighted sum of features: the score whose relevance is asked for."""

    weights: Tensor
    """(F,)"""
    keep: int | None = None
    """Only so many of an image's weighted features are added up, the largest; all if None."""

    def score(self, codes: Tensor) -> Tensor:
        """(..., F) activations of the features to the (...) score."""
        weighted = codes * self.weights.to(codes)
        if self.keep is None:
            return weighted.sum(-1)
        kept = weighted.abs().topk(min(self.keep, weighted.shape[-1]), dim=-1).indices
        return weighted.gather(-1, kept).sum(-1)


def feature_target(reader: FeatureReader, index: int) -> Target:
    """One feature; its activation is the score. BadDictionary where there is no such feature."""
    n = reader.dictionary.n_features
    if not 0 <= index < n:
        raise UnfitRequest(f"Feature {index} is not in this dictionary; it has 0 to {n - 1}.")
    return Target(functional.one_hot(torch.tensor(index), n).float())


def word_target(
    reader: FeatureReader,
    word: str,
    *,
    among: Sequence[str] = (),
    template: str = "a picture of {}",
    keep: int = KEPT,
) -> Target:
    """The features near a word: each weighted by max(0, cosine of decoder direction and text embedding).

    On an image the ``keep`` largest products of weight and activation are added up. ``among``: other words
    of the same vocabulary; what the embeddings of all have in common, the gap between texts and images, is
    taken off, without them that of the bare template. Errors as of ``embed_texts``.
    """
    others = [each for each in among if each != word] or [""]
    texts = [template.replace("{}", each).strip() for each in (word, *others)]
    with torch.no_grad():
        embedded = functional.normalize(embed_texts(reader, texts), dim=-1)
        gap = embedded.mean(0) if among else embedded[1:].mean(0)
        directions = functional.normalize(reader.dictionary.W_dec.float(), dim=-1)
        cosine = directions @ functional.normalize(embedded[0] - gap, dim=-1).to(directions)
    return Target(cosine.clamp(min=0), keep)
