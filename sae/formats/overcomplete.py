"""overcomplete: z = act(encoder(x)), x^ = z @ D without biases around; D is built from what the file holds.

D = normalised _weights * exp(multiplier), or (rows of relu(W) summing to 1 @ C + Relax) * exp(multiplier)
for an archetypal one. Whole modules say which class they are, state dicts do not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sae.errors import BadDictionary, UnfitRequest
from sae.formats.bag import Bag
from sae.formats.named import UNCALIBRATED
from sae.formats.parts import Activation, Parts, floating, turned, vector
from sae.formats.reading import Format, Reading, Source

_NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "l2": lambda weights: weights / (weights.norm(dim=1, keepdim=True) + 1e-8),
    "max_l2": lambda weights: weights / weights.norm(dim=1, keepdim=True).clamp(min=1),
    "l1": lambda weights: weights / (weights.norm(p=1, dim=1, keepdim=True) + 1e-8),
    "max_l1": lambda weights: weights / weights.norm(p=1, dim=1, keepdim=True).clamp(min=1),
    "identity": lambda weights: weights,
}
"""Kinds of (F, d) normalisation."""
FLAVORS = tuple(f"overcomplete-{kind}" for kind in ("relu", "topk", "batchtopk", *_NORMS))
"""What a state dict leaves open: the activation of a class without thresholds, or how D is normalised."""
_CLASSES = {"SAE": "relu", "TopKSAE": "topk", "BatchTopKSAE": "batchtopk", "JumpSAE": "jumprelu"}
_CLASSES |= {"RATopKSAE": "topk", "RAJumpSAE": "jumprelu"}


def _read(source: Source) -> Reading:
    W_enc, b_enc = _encoder(source)
    decoder, norm_notes = _decoder(source)
    activation, notes = _activation(source, _kind(source))
    parts = Parts(W_enc=W_enc, b_enc=b_enc, W_dec=decoder)
    return Reading(parts.dictionary(activation), (*notes, *norm_notes))


def _kind(source: Source) -> str:
    name = next((name.rpartition(".")[2] for name in source.classes if "overcomplete" in name), None)
    if source.has("Q") or name == "QSAE":
        raise BadDictionary("it is a quantised QSAE, whose levels no dictionary here has")
    if name is not None:
        if name not in _CLASSES:
            raise BadDictionary(f"it is a {name}, which encodes in a way that no dictionary here does")
        return _CLASSES[name]
    if source.has("thresholds"):
        return "jumprelu"
    flavor = str(source.flavor).removeprefix("overcomplete-")
    if flavor in _CLASSES.values():
        return flavor
    if source.k is not None or "top_k" in source.config:
        return "topk"
    raise UnfitRequest(
        "its weights do not tell an SAE from a TopKSAE; give k for a TopK, or flavor, one of "
        f"{', '.join(FLAVORS)}"
    )


def _activation(source: Source, kind: str) -> tuple[Activation, tuple[str, ...]]:
    if kind == "jumprelu":
        return Activation("jumprelu", threshold=floating(source.tensor("thresholds"), "thresholds").exp()), ()
    if kind == "relu":
        return Activation("relu"), ()
    stored = source.around.get("top_k")
    k = source.k or (stored if type(stored) is int else source.config.whole("top_k"))
    if kind == "topk":
        return Activation("topk", k=k), ()
    running = source.one_number("running_threshold")
    if running is not None and running >= 0:
        # Its top_k is of a whole batch of unknown size, so it is no k.
        return Activation("batchtopk", k=source.k, threshold=torch.tensor(running)), ()
    if source.k is None:
        raise UnfitRequest(
            "it lost its running threshold when it was saved; give k, per row, to stand for it"
        )
    return Activation("batchtopk", k=source.k), (UNCALIBRATED,)


def _encoder(source: Source) -> tuple[Tensor, Tensor | None]:
    """(d, F) and (F,), a batch norm in inference folded in."""
    if any(
        name.startswith(("encoder.mlp_blocks.", "encoder.resnet", "encoder.attention"))
        for name in source.tensors
    ):
        raise BadDictionary("its encoder has several layers, where a dictionary here has one")
    if source.has("encoder.weight"):
        return turned(source.tensor("encoder.weight")), source.tensors.get("encoder.bias")
    if not source.has("encoder.final_block.0.weight"):
        raise BadDictionary("it has no encoder, as those of matching pursuit; no dictionary here does that")
    W_enc = turned(source.tensor("encoder.final_block.0.weight"))
    b_enc = floating(source.tensor("encoder.final_block.0.bias"), "encoder's bias")
    if source.has("encoder.final_block.1.running_mean"):
        return _batch_norm(source, W_enc, b_enc)
    if source.has("encoder.final_block.1.weight"):
        raise BadDictionary("its encoder ends in a layer norm over features, which no dictionary here has")
    return W_enc, b_enc


def _batch_norm(source: Source, W_enc: Tensor, b_enc: Tensor) -> tuple[Tensor, Tensor]:
    names = ("weight", "bias", "running_mean", "running_var")
    size = W_enc.shape[1]
    gain, shift, mean, variance = (
        vector(source.tensor(f"encoder.final_block.1.{name}"), size, f"batch norm's {name}") for name in names
    )
    factor = gain / (variance + 1e-5).sqrt()
    return W_enc * factor, (vector(b_enc, size, "encoder's bias") - mean) * factor + shift


def _decoder(source: Source) -> tuple[Tensor, tuple[str, ...]]:
    multiplier = torch.tensor(source.one_number("dictionary.multiplier") or 0.0).exp()
    if source.has("dictionary.C"):
        return _archetypes(source) * multiplier, ()
    weights = floating(source.tensor("dictionary._weights"), "dictionary")
    if weights.ndim != 2:
        raise BadDictionary(f"its dictionary has shape {tuple(weights.shape)}, not two sizes")
    kind, notes = _norm(source)
    return _NORMS[kind](weights) * multiplier, notes


def _archetypes(source: Source) -> Tensor:
    mix, points, relax = (floating(source.tensor(f"dictionary.{name}"), name) for name in ("W", "C", "Relax"))
    mix = mix.relu()
    fits = mix.ndim == points.ndim == relax.ndim == 2 and mix.shape[1] == points.shape[0]
    if not fits or tuple(relax.shape) != (mix.shape[0], points.shape[1]):
        raise BadDictionary("its archetypes, their mixture and its relaxation differ in size")
    return mix / (mix.sum(-1, keepdim=True) + 1e-8) @ points + relax


def _norm(source: Source) -> tuple[str, tuple[str, ...]]:
    flavor = str(source.flavor).removeprefix("overcomplete-")
    if flavor in _NORMS:
        return flavor, ()
    held = source.around.get("dictionary.normalization")
    said = held.name.rpartition(".")[2].removesuffix("_normalization") if isinstance(held, Bag) else held
    if isinstance(said, str) and said in _NORMS:
        return said, ()
    return "l2", ("How D is normalised the file does not say; read with l2, the default.",)


OVERCOMPLETE = Format(
    "overcomplete",
    lambda source: source.has("dictionary._weights") or source.has("dictionary.C", "dictionary.W"),
    _read,
    FLAVORS,
)
