"""The words of a vocabulary that lie nearest a feature's decoder direction, by the backbone's text tower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from sae.activations import FeatureReader
from sae.errors import UnfitRequest, UnreadableWords
from sae.measures.heads import logit_scale
from sae.statistics import Floats, Ranked, nearest_words
from sae.text_space import embed_texts

How = Literal["cosine", "softmax"]
TEMPLATE = "a picture of {}"
_FEATURES = 512


class Vocabulary(NamedTuple):
    """Words and their embeddings."""

    words: tuple[str, ...]
    embeddings: Floats
    """(V, d)"""
    scale: float
    """What the model multiplies cosines by."""


def read_words(path: Path) -> tuple[str, ...]:
    """A vocabulary file: UTF-8, a word or phrase a line, each once; empty lines and # comments left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableWords(
            f"Words {path} cannot be read; give a UTF-8 file with a word a line."
        ) from error
    words = (line.strip() for line in lines if not line.lstrip().startswith("#"))
    found = tuple(dict.fromkeys(filter(None, words)))
    if not found:
        raise UnreadableWords(f"Words {path} holds no word; give a UTF-8 file with a word a line.")
    return found


def embed_words(reader: FeatureReader, words: Sequence[str], *, template: str = TEMPLATE) -> Vocabulary:
    """Words in the space of the dictionary's directions; errors as of ``embed_texts``."""
    texts = [template.replace("{}", word) for word in words]
    embeddings = embed_texts(reader, texts).cpu().numpy()
    return Vocabulary(tuple(words), embeddings, logit_scale(reader.backbone))


def name_features(
    reader: FeatureReader,
    vocabulary: Vocabulary,
    features: Sequence[int],
    *,
    how: How = "cosine",
    count: int = 8,
) -> list[Ranked]:
    """The (word, score) nearest each feature's direction, best first; see ``nearest_words``.

    'cosine' with the words' common part taken off; 'softmax' of the model's logit scale times that, over the
    whole vocabulary. BadDictionary where there is no such feature.
    """
    n = reader.dictionary.n_features
    missing = [each for each in features if not 0 <= each < n]
    if missing:
        raise UnfitRequest(f"Feature {missing[0]} is not in this dictionary; it has 0 to {n - 1}.")
    decoder = reader.dictionary.W_dec.float().cpu().numpy()
    found: list[Ranked] = []
    for start in range(0, len(features), _FEATURES):
        rows = decoder[list(features[start : start + _FEATURES])]
        kept = len(vocabulary.words) if how == "softmax" else count
        ranked = nearest_words(rows, vocabulary.embeddings, vocabulary.words, count=kept)
        found += ranked if how == "cosine" else [_softmax(each, vocabulary.scale)[:count] for each in ranked]
    return found


def _softmax(ranked: Ranked, scale: float) -> Ranked:
    logits = scale * np.array([cosine for _, cosine in ranked])
    weights = np.exp(logits - logits.max())
    shares = (weights / weights.sum()).tolist()
    return tuple((word, share) for (word, _), share in zip(ranked, shares, strict=True))
