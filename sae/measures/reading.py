"""One pass of a dictionary over the activations of a set of images: all that the measures are made of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from sae.activations import POOL
from sae.dictionary import SparseDictionary
from sae.measures.explained import Explained, ExplainedVariance
from sae.measures.tokens import Tokens
from sae.metrics import Doubles
from sae.pooling import Pooling

MOST_CODES = 2**24
"""Activations of features held at once."""


class Subject(NamedTuple):
    """A dictionary and how its features are read of an image."""

    dictionary: SparseDictionary
    pooling: Pooling = "none"
    top_p: float = 0.1


class ImageRows(NamedTuple):
    """What every image adds; each (n,)."""

    error: Doubles
    """Summed |x^ - x|^2 of its tokens."""
    cosine: Doubles
    """Mean cosine of x and x^."""
    length: Doubles
    """Mean |x^| / |x|."""
    l0: Doubles
    """Mean number of active features a token."""


class FeatureRows(NamedTuple):
    """What every feature does over all tokens; each (F,)."""

    active: Doubles
    """Tokens on which it is active."""
    images: Doubles
    """Images on one token of which, or more, it is active."""
    total: Doubles
    """Summed activation."""
    highest: Doubles


class Reading(NamedTuple):
    """What a dictionary makes of n images."""

    codes: sparse.csr_matrix
    """(n, F) activations of the features, pooled over tokens."""
    rebuilt: Doubles
    """(n, d) the mean of each image's reconstructions."""
    images: ImageRows
    features: FeatureRows
    explained: tuple[Explained, ...]
    bias: float
    """E |x^|^2 / E <x, x^>."""
    rows: int
    """Tokens."""


@torch.inference_mode()
def read_tokens(subject: Subject, tokens: Tokens) -> Reading:
    """Encode and decode every token, on the dictionary's device."""
    total = _Totals(subject, tokens)
    size = max(1, MOST_CODES // (tokens.positions * subject.dictionary.n_features))
    for x in tokens.batches(size):
        total.add(x)
    return total.reading()


class _Totals:
    def __init__(self, subject: Subject, tokens: Tokens) -> None:
        self._subject = subject
        self._rows = tokens.rows
        self._explained = ExplainedVariance(positions=tokens.positions)
        self._codes: list[sparse.csr_matrix] = []
        self._rebuilt: list[Doubles] = []
        self._images: list[ImageRows] = []
        self._features = [torch.zeros(subject.dictionary.n_features, dtype=torch.float64) for _ in range(4)]
        self._squares = self._products = 0.0

    def add(self, x: Tensor) -> None:
        """Count (b, p, d) tokens of b images."""
        dictionary = self._subject.dictionary
        on = x.to(dictionary.W_enc.device, torch.float32)
        codes = dictionary.encode(on)
        rebuilt = dictionary.decode(codes, statistics=dictionary.statistics(on)).double().cpu()
        self._count_features(codes)
        self._codes.append(sparse.csr_matrix(self._pool(codes).float().cpu().numpy()))
        self._rebuilt.append(rebuilt.mean(1).numpy())
        self._count_images(x.double(), rebuilt, (codes != 0).double().sum((1, 2)).cpu() / codes.shape[1])
        self._explained.add(x.flatten(0, 1).numpy(), rebuilt.flatten(0, 1).numpy())

    def reading(self) -> Reading:
        return Reading(
            codes=sparse.vstack(self._codes, format="csr"),
            rebuilt=np.concatenate(self._rebuilt),
            images=ImageRows(*(np.concatenate(each) for each in zip(*self._images, strict=True))),
            features=FeatureRows(*(each.numpy() for each in self._features)),
            explained=self._explained.values(),
            bias=self._squares / self._products if self._products > 0 else float("nan"),
            rows=self._rows,
        )

    def _pool(self, codes: Tensor) -> Tensor:
        """(b, F) of (b, p, F); where an image is one vector there is nothing to pool."""
        if codes.shape[1] == 1:
            return codes[:, 0]
        return POOL[self._subject.pooling](codes, self._subject.top_p)

    def _count_features(self, codes: Tensor) -> None:
        live = codes != 0
        active, images, total, highest = self._features
        active += live.double().sum((0, 1)).cpu()
        images += live.any(1).double().sum(0).cpu()
        total += codes.double().sum((0, 1)).cpu()
        torch.maximum(highest, codes.amax((0, 1)).double().cpu(), out=highest)

    def _count_images(self, x: Tensor, rebuilt: Tensor, l0: Tensor) -> None:
        product, own, other = (x * rebuilt).sum(-1), x.norm(dim=-1), rebuilt.norm(dim=-1)
        self._squares += float(other.square().sum())
        self._products += float(product.sum())
        tiny = torch.finfo(torch.float64).tiny
        parts = (
            (rebuilt - x).square().sum((1, 2)),
            (product / (own * other).clamp(min=tiny)).mean(1),
            (other / own.clamp(min=tiny)).mean(1),
            l0,
        )
        self._images.append(ImageRows(*(each.numpy() for each in parts)))


@torch.inference_mode()
def count_active(dictionary: SparseDictionary, tokens: Tokens) -> Doubles:
    """(F,) tokens on which each feature is active."""
    active = torch.zeros(dictionary.n_features, dtype=torch.float64)
    for x in torch.split(tokens.held.flatten(0, 1), max(1, MOST_CODES // dictionary.n_features)):
        codes = dictionary.encode(x.to(dictionary.W_enc.device, torch.float32))
        active += (codes != 0).double().sum(0).cpu()
    return active.numpy()
