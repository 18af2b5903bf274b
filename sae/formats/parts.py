"""The parts of a dictionary as files have them, and their way into the canonical form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sae.architectures import Architecture, Sign
from sae.card import Normalisation
from sae.dictionary import Gate, SparseDictionary
from sae.errors import BadDictionary, UnfitRequest
from sae.layer_norm import LayerNorm

PEERS_NORM = LayerNorm(eps=1e-5, ddof=1, eps_inside_root=False, inverted=True)
"""What openai, Prisma, SAELens, bussmann and MSAE call layer norm or unit norm."""


class Activation(NamedTuple):
    """How features become active."""

    architecture: Architecture = "relu"
    k: int | None = None
    threshold: Tensor | None = None
    sign: Sign = "relu"
    soft_cap: float | None = None
    gate: Gate | None = None
    """Its b_mag belongs to the activation with b_in subtracted, as the files have it."""


@dataclass(frozen=True)
class Parts:
    """u = (norm(x) - mean) * scale, h = (u - b_in) @ W_enc + b_enc, u^ = z @ W_dec + b_out, and back."""

    W_enc: Tensor
    """(d, F)"""
    W_dec: Tensor
    """(F, d)"""
    b_in: Tensor | None = None
    """(d,)"""
    b_enc: Tensor | None = None
    """(F,)"""
    b_out: Tensor | None = None
    """(d,)"""
    mean: Tensor | None = None
    """(d,)"""
    scale: float = 1.0
    norm: LayerNorm | None = None

    def dictionary(self, activation: Activation) -> SparseDictionary:
        """The canonical form in float32, b_in folded. BadDictionary where sizes disagree."""
        d, f = self._sizes()
        b_in = vector(self.b_in, d, "decoder's bias")
        taken = (b_in.double() @ self.W_enc.double()).float() if bool(b_in.any()) else torch.zeros(f)
        mean = vector(self.mean, d, "mean")
        return SparseDictionary(
            activation.architecture,
            # As they come back from our own disk: products of another layout differ in their last bits.
            W_enc=floating(self.W_enc, "encoder").contiguous(),
            b_enc=vector(self.b_enc, f, "encoder's bias") - taken,
            W_dec=floating(self.W_dec, "decoder").contiguous(),
            b_dec=vector(self.b_out, d, "decoder's bias"),
            mean=mean,
            scale=torch.tensor(float(self.scale)),
            k=_k(activation, f),
            threshold=_threshold(activation, f),
            normalise=Normalisation(mean="mean" if bool(mean.any()) else "none", scale="none"),
            input_norm=self.norm,
            sign=activation.sign,
            soft_cap=activation.soft_cap,
            gate=_gate(activation.gate, taken),
        )

    def _sizes(self) -> tuple[int, int]:
        if self.W_enc.ndim != 2 or 0 in self.W_enc.shape:
            raise BadDictionary(f"its encoder has shape {tuple(self.W_enc.shape)}, not two sizes")
        d, f = self.W_enc.shape
        if tuple(self.W_dec.shape) != (f, d):
            raise BadDictionary(
                f"its encoder is {d} by {f} and its decoder {' by '.join(map(str, self.W_dec.shape))}"
            )
        return d, f


def turned(weight: Tensor) -> Tensor:
    """The transpose of a matrix as torch's Linear keeps it."""
    if weight.ndim != 2:
        raise BadDictionary(f"it holds a matrix of shape {tuple(weight.shape)}, not two sizes")
    return floating(weight, "matrix").T


def folded_norms(W_enc: Tensor, b_enc: Tensor, W_dec: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(d, F), (F,) and (F, d) whose features are active as much as their decoder directions were long."""
    if W_enc.ndim != 2 or tuple(W_dec.shape) != tuple(W_enc.shape[::-1]) or len(b_enc) != len(W_dec):
        raise BadDictionary("its encoder and its decoder differ in size")
    W_dec = floating(W_dec, "decoder")
    lengths = W_dec.norm(dim=1)
    if not bool((lengths > 0).all()):
        raise BadDictionary("a decoder direction of it has no length")
    W_enc, b_enc = floating(W_enc, "encoder"), floating(b_enc, "encoder's bias")
    return W_enc * lengths, b_enc * lengths, W_dec / lengths[:, None]


def checked(dictionary: SparseDictionary) -> SparseDictionary:
    """The same; BadDictionary where a number is not finite or a scale is zero."""
    for name, tensor in dictionary._tensors().items():
        if not bool(tensor.isfinite().all()):
            raise BadDictionary(f"its {name} holds values that are not finite")
    if float(dictionary.scale) == 0:
        raise BadDictionary("it scales activations by 0")
    return dictionary


def vector(held: Tensor | None, size: int, name: str) -> Tensor:
    """(size,) as float32, zeros for None; BadDictionary names another size or kind of numbers."""
    if held is None:
        return torch.zeros(size)
    if tuple(held.shape) != (size,):
        raise BadDictionary(f"its {name} has shape {tuple(held.shape)}, not ({size},)")
    return floating(held, name)


def floating(held: Tensor, name: str) -> Tensor:
    """As float32; BadDictionary where it holds no floating numbers."""
    if not held.is_floating_point():
        raise BadDictionary(f"its {name} holds {str(held.dtype).removeprefix('torch.')} numbers")
    return held.float()


def _k(activation: Activation, f: int) -> int | None:
    free = activation.architecture == "batchtopk" and activation.threshold is not None
    if activation.k is None and activation.architecture in ("topk", "batchtopk") and not free:
        raise UnfitRequest("it does not hold k; give k")
    if activation.k is not None and not 0 < activation.k <= f:
        raise BadDictionary(f"k is {activation.k}, with {f} features")
    return activation.k


def _threshold(activation: Activation, f: int) -> Tensor | None:
    if activation.threshold is None:
        return None
    threshold = floating(activation.threshold, "threshold")
    if activation.architecture != "jumprelu":
        if threshold.numel() != 1:
            raise BadDictionary(f"its threshold has shape {tuple(threshold.shape)}, not one number")
        return threshold.reshape(())
    if threshold.numel() not in (1, f) or threshold.ndim > 1:
        raise BadDictionary(f"its threshold has shape {tuple(threshold.shape)}, not ({f},)")
    return threshold.expand(f).clone()


def _gate(gate: Gate | None, taken: Tensor) -> Gate | None:
    if gate is None:
        return None
    r_mag = vector(gate.r_mag, len(taken), "r_mag")
    return Gate(r_mag=r_mag, b_mag=vector(gate.b_mag, len(taken), "b_mag") - r_mag.exp() * taken)
