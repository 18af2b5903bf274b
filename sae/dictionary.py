"""Sparse dictionaries: activations to features and back, and the folder they are kept in.

Canonical form, whatever the training was: with u = (x - mean) * scale,
h = u @ W_enc + b_enc, z = activate(h), x^ = (z @ W_dec + b_dec) / scale + mean.
A bias subtracted before encoding is folded into b_enc. Where there is an ``input_norm``, x is standardised
before (or u after) and, if it is inverted, x^ put back; a ``soft_cap`` c makes z into c * tanh(z / c).
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

from sae.architectures import ARCHITECTURES, Architecture, Sign, Variant
from sae.card import CARD_FILE, DictionaryCard, Normalisation, Origin, read_card, write_card
from sae.errors import BadDictionary
from sae.layer_norm import LayerNorm, Statistics
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


class Gate(NamedTuple):
    """Strength of a feature whose gate, b_enc in h, is open: relu(exp(r_mag) * u @ W_enc + b_mag)."""

    r_mag: Tensor
    """(F,)"""
    b_mag: Tensor
    """(F,)"""


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
    input_norm: LayerNorm | None = None
    sign: Sign = "relu"
    """What topk and batchtopk rank and keep: 'relu' the positive part, 'keep' either sign, 'abs' by size."""
    soft_cap: float | None = None
    gate: Gate | None = None
    """Of a gated dictionary."""

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
        return self._encode_normed(self._normed(activations, self._any_statistics(activations)))

    def preactivations(self, activations: Tensor) -> Tensor:
        """(..., d) activations of the backbone to (..., F) h, before any feature is silenced."""
        u = self._normed(activations, self._any_statistics(activations))
        return self._projected(u)

    def encode_sparse(self, activations: Tensor) -> Codes:
        """(b, d) activations to the non-zero ones of the features."""
        return sparsify(self.encode(activations))

    def decode(self, codes: Tensor, *, statistics: Statistics | None = None) -> Tensor:
        """(..., F) activations of the features to (..., d) reconstructions of the backbone's.

        Where an ``input_norm`` is inverted it takes the ``statistics`` of the activations encoded:
        BadDictionary without them. The rest ignore them.
        """
        decoded = codes @ self.W_dec + self.b_dec
        norm = self.input_norm
        if norm is None or not norm.inverted:
            return decoded / self.scale + self.mean
        if statistics is None:
            raise BadDictionary(
                "This dictionary standardises each activation by its own mean and deviation, which codes do "
                "not hold; give decode the statistics of the activations, or call reconstruct."
            )
        if norm.after_scale:
            return norm.undo(decoded, statistics) / self.scale + self.mean
        return norm.undo(decoded / self.scale + self.mean, statistics)

    def reconstruct(self, activations: Tensor) -> Tensor:
        """(..., d) activations to (..., d) what their features say of them, by their own statistics."""
        statistics = self._any_statistics(activations)
        codes = self._encode_normed(self._normed(activations, statistics))
        return self.decode(codes, statistics=statistics)

    def statistics(self, activations: Tensor) -> Statistics | None:
        """What ``decode`` needs to know of (..., d) activations; None where it needs nothing."""
        inverted = self.input_norm is not None and self.input_norm.inverted
        return self._any_statistics(activations) if inverted else None

    def to(self, device: torch.device | str) -> SparseDictionary:
        """The same dictionary on another device."""
        return replace(self, **_fields({name: tensor.to(device) for name, tensor in self._tensors().items()}))

    def save(self, folder: Path, origin: Origin, *, dtype: torch.dtype = torch.float32) -> DictionaryCard:
        """Write the folder ``load_dictionary`` reads, float16 or float32 on disk; the card comes last.

        Thresholds, mean and scale stay float32. BadDictionary where its architecture lacks what it needs.
        """
        _refuse_incomplete(self, folder)
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
            input_norm=self.input_norm,
            sign=self.sign,
            soft_cap=self.soft_cap,
            weights=weights,
        )

    def _any_statistics(self, activations: Tensor) -> Statistics | None:
        norm = self.input_norm
        if norm is None:
            return None
        return norm.statistics(self._scaled(activations) if norm.after_scale else activations)

    def _normed(self, activations: Tensor, statistics: Statistics | None) -> Tensor:
        """(..., d) what the encoder's matrix sees."""
        norm = self.input_norm
        if norm is None or statistics is None:
            return self._scaled(activations)
        if norm.after_scale:
            return norm.apply(self._scaled(activations), statistics)
        return self._scaled(norm.apply(activations, statistics))

    def _scaled(self, activations: Tensor) -> Tensor:
        return (activations - self.mean) * self.scale

    def _encode_normed(self, u: Tensor) -> Tensor:
        z = self.variant.activate(self, self._projected(u))
        return z if self.soft_cap is None else self.soft_cap * (z / self.soft_cap).tanh()

    def _projected(self, u: Tensor) -> Tensor:
        # One pass over the product: adding the bias afterwards is another, into memory of its own.
        return torch.nn.functional.linear(u, self.W_enc.T, self.b_enc)

    def _tensors(self) -> dict[str, Tensor]:
        held = {name: getattr(self, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec", "mean", "scale")}
        if self.threshold is not None:
            held["threshold"] = self.threshold
        return held if self.gate is None else held | self.gate._asdict()


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
        settings = {
            name: getattr(card, name) for name in ("k", "normalise", "input_norm", "sign", "soft_cap")
        }
        return SparseDictionary(card.architecture, **_fields(tensors), **settings)
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
    _refuse_incomplete(dictionary, folder)


def _refuse_incomplete(dictionary: SparseDictionary, folder: Path) -> None:
    needed = dictionary.variant.needs
    if needed and getattr(dictionary, needed) is None:
        raise BadDictionary(
            f"{folder} holds a {dictionary.architecture} without {needed}; save it again with one."
        )


def _fields(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Tensors as they are stored to what SparseDictionary takes."""
    plain: dict[str, Any] = {name: tensor for name, tensor in tensors.items() if name not in Gate._fields}
    if len(plain) == len(tensors):
        return plain
    return plain | {"gate": Gate(**{name: tensors[name] for name in tensors if name in Gate._fields})}


def _shapes(card: DictionaryCard) -> dict[str, tuple[int, ...]]:
    d, f = card.width, card.n_features
    threshold = (f,) if ARCHITECTURES[card.architecture].many_thresholds else ()
    vectors = {"b_enc": (f,), "b_dec": (d,), "mean": (d,), "scale": (), "threshold": threshold}
    vectors |= {"r_mag": (f,), "b_mag": (f,)}
    return {"W_enc": (d, f), "W_dec": (f, d), **vectors}
