"""Sparse dictionaries: activations to features and back, and the folder they are kept in.

Canonical form, whatever the training was: with u = (x - mean) * scale,
h = u @ W_enc + b_enc, z = activate(h), x^ = (z @ W_dec + b_dec) / scale + mean.
A bias subtracted before encoding is folded into b_enc.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from sae.architectures import ARCHITECTURES, Architecture, Variant
from sae.card import CARD_FILE, DictionaryCard, Normalisation, Origin, read_card, write_card
from sae.errors import BadDictionary
from sae.whole_file import whole_file

WEIGHTS_FILE = "dictionary.safetensors"
_DEFAULT = Normalisation()


class Codes(NamedTuple):
    """Non-zero activations of b rows over all features, in compressed sparse rows."""

    offsets: Tensor
    """(b + 1,) int64; row i holds entries offsets[i] to offsets[i + 1]."""
    indices: Tensor
    """(nnz,) int32 feature indices, ascending within a row."""
    values: Tensor
    """(nnz,) activations."""


@dataclass(frozen=True)
class SparseDictionary:
    """The weights of a dictionary and how its features become active."""

    architecture: Architecture
    W_enc: Tensor
    """(d, F)"""
    b_enc: Tensor
    """(F,)"""
    W_dec: Tensor
    """(F, d); a row is a feature's decoder direction."""
    b_dec: Tensor
    """(d,)"""
    mean: Tensor
    """(d,)"""
    scale: Tensor
    """()"""
    k: int | None = None
    threshold: Tensor | None = None
    """() for batchtopk, (F,) for jumprelu."""
    normalise: Normalisation = _DEFAULT

    @property
    def variant(self) -> Variant:
        """How its features become active."""
        return ARCHITECTURES[self.architecture]

    @property
    def width(self) -> int:
        return self.W_enc.shape[0]

    @property
    def n_features(self) -> int:
        return self.W_enc.shape[1]

    def encode(self, activations: Tensor) -> Tensor:
        """(..., d) activations of the backbone to (..., F) activations of the features."""
        return self.variant.activate(self, self._pre_activations(activations))

    def encode_sparse(self, activations: Tensor) -> Codes:
        """(b, d) activations to the non-zero ones of the features."""
        return sparsify(self.encode(activations))

    def decode(self, codes: Tensor) -> Tensor:
        """(..., F) activations of the features to (..., d) reconstructions of the backbone's."""
        return (codes @ self.W_dec + self.b_dec) / self.scale + self.mean

    def to(self, device: torch.device | str) -> SparseDictionary:
        """The same dictionary on another device."""
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in self._tensors().items()}
        return replace(self, **moved)

    def save(self, folder: Path, origin: Origin, *, dtype: torch.dtype = torch.float32) -> DictionaryCard:
        """Write the folder ``load_dictionary`` reads, float16 or float32 on disk; the card comes last.

        Thresholds, mean and scale stay float32.
        """
        # Clones: safetensors refuses tensors that share memory.
        exact = {"mean", "scale", "threshold"}
        tensors = {
            name: tensor.detach().to("cpu", torch.float32 if name in exact else dtype).contiguous().clone()
            for name, tensor in self._tensors().items()
        }
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / WEIGHTS_FILE) as partial:
            save_file(tensors, partial)
            digest = hashlib.sha256(partial.read_bytes()).hexdigest()
            (folder / CARD_FILE).unlink(missing_ok=True)
        card = self._card(origin, digest)
        write_card(card, folder)
        return card

    def _card(self, origin: Origin, weights: str) -> DictionaryCard:
        scalar = None if self.variant.many_thresholds else self.threshold
        return DictionaryCard(
            **{name: getattr(origin, name) for name in Origin.model_fields},
            architecture=self.architecture,
            width=self.width,
            n_features=self.n_features,
            k=self.k,
            threshold=None if scalar is None else float(scalar),
            normalise=self.normalise,
            weights=weights,
        )

    def _pre_activations(self, activations: Tensor) -> Tensor:
        return (activations - self.mean) * self.scale @ self.W_enc + self.b_enc

    def _tensors(self) -> dict[str, Tensor]:
        held = {name: getattr(self, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec", "mean", "scale")}
        return held if self.threshold is None else held | {"threshold": self.threshold}


def sparsify(dense: Tensor) -> Codes:
    """The non-zero entries of (b, F) codes."""
    rows, indices = dense.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(dense))
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Codes(offsets=offsets, indices=indices.to(torch.int32), values=dense[rows, indices])


def load_dictionary(folder: Path, *, device: torch.device | str = "cpu") -> SparseDictionary:
    """A dictionary folder as float32 weights; BadDictionary when it is corrupt or does not fit its card."""
    card = read_card(folder)
    dictionary = _read_weights(folder / WEIGHTS_FILE, card)
    _check(dictionary, card, folder)
    return dictionary.to(device)


def _read_weights(path: Path, card: DictionaryCard) -> SparseDictionary:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadDictionary(f"{path} cannot be read; save or download the dictionary again.") from error
    if hashlib.sha256(raw).hexdigest() != card.weights:
        raise BadDictionary(f"{path} is not the file its card was written for; save or download it again.")
    try:
        tensors = {name: tensor.float() for name, tensor in load(raw).items()}
        return SparseDictionary(card.architecture, **tensors, k=card.k, normalise=card.normalise)
    except (SafetensorError, TypeError) as error:
        raise BadDictionary(f"{path} does not hold the weights of a dictionary; save it again.") from error


def _check(dictionary: SparseDictionary, card: DictionaryCard, folder: Path) -> None:
    for name, tensor in dictionary._tensors().items():
        expected = _shapes(card)[name]
        if tuple(tensor.shape) != expected:
            raise BadDictionary(
                f"{name} in {folder} has shape {tuple(tensor.shape)}, not {expected}; save it again."
            )
        if not bool(tensor.isfinite().all()):
            raise BadDictionary(f"{name} in {folder} holds values that are not finite; train it again.")
    needed = dictionary.variant.needs
    if needed and getattr(dictionary, needed) is None:
        raise BadDictionary(f"{folder} holds a {card.architecture} without {needed}; save it again.")


def _shapes(card: DictionaryCard) -> dict[str, tuple[int, ...]]:
    d, f = card.width, card.n_features
    threshold = (f,) if ARCHITECTURES[card.architecture].many_thresholds else ()
    vectors = {"b_enc": (f,), "b_dec": (d,), "mean": (d,), "scale": (), "threshold": threshold}
    return {"W_enc": (d, f), "W_dec": (f, d), **vectors}
