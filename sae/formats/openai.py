"""openai's sparse autoencoders, and sdxl-unbox's, which have the same weights and no layer norm.

h = (u - pre_bias) @ W_enc + latent_bias, u^ = z @ W_dec + pre_bias. In openai's, u is x standardised where
the activation is TopK; in sdxl-unbox's, (x - mean) / std where files of those sizes lie beside the weights.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sae.errors import BadDictionary, UnfitRequest
from sae.formats.container import open_container
from sae.formats.parts import PEERS_NORM, Activation, Parts, turned
from sae.formats.reading import Format, Reading, Source
from sae.formats.wrappers import settings_of

FLAVORS = ("openai-relu", "openai-topk")
"""For files that do not hold their activation."""
_WEIGHTS = ("pre_bias", "latent_bias", "encoder.weight")


def _parts(source: Source) -> Parts:
    tied = source.has("decoder.linear.weight") and not source.has("decoder.weight")
    W_dec = source.tensor("decoder.linear.weight") if tied else turned(source.tensor("decoder.weight"))
    bias = source.tensor("pre_bias")
    return Parts(
        W_enc=turned(source.tensor("encoder.weight")),
        W_dec=W_dec,
        b_in=bias,
        b_enc=source.tensor("latent_bias"),
        b_out=bias,
    )


def _read_openai(source: Source) -> Reading:
    named = source.flavor in FLAVORS
    said = str(source.flavor).partition("-")[2] if named else _activation_name(source)
    if said == "relu":
        return Reading(_parts(source).dictionary(Activation("relu")))
    state = settings_of(source.around.get("activation_state_dict"))
    k = source.k or state.whole("k") or settings_of(source.around).whole("activation.k")
    postact = state.text("postact_fn") or "ReLU"
    if postact not in ("ReLU", "Identity"):
        raise BadDictionary(f"its TopK keeps activations through {postact!r}, which no dictionary here does")
    activation = Activation("topk", k=k, sign="relu" if postact == "ReLU" else "keep")
    return Reading(replace(_parts(source), norm=PEERS_NORM).dictionary(activation))


def _activation_name(source: Source) -> str:
    said = source.around.get("activation")
    if said in ("ReLU", "TopK"):
        return str(said).lower()
    raise UnfitRequest(
        f"its activation is {str(said)[:40]!r}, not 'ReLU' or 'TopK'; give flavor, one of "
        f"{', '.join(FLAVORS)}"
    )


def _read_sdxl(source: Source) -> Reading:
    k = source.top("k")
    parts = _parts(source)
    d, f = parts.W_enc.shape
    parts.dictionary(Activation())
    mean, std = _beside(source, "mean.pt"), _beside(source, "std.pt")
    notes = () if mean is None or len(mean) != f or f == d else ("mean.pt is of the features; left aside.",)
    if mean is not None and std is not None and len(mean) == len(std) == d:
        parts = _standardised(parts, mean, std)
        notes = ("Activations are standardised by mean.pt and std.pt before they are encoded.",)
    return Reading(parts.dictionary(Activation("topk", k=k)), notes)


def _standardised(parts: Parts, mean: Tensor, std: Tensor) -> Parts:
    """Parts for u = (x - mean) / std as parts for x: both folded."""
    if not bool((std > 0).all()):
        raise BadDictionary("its std.pt holds a deviation that is not positive")
    bias = torch.zeros(len(mean)) if parts.b_in is None else parts.b_in
    return replace(
        parts,
        W_enc=parts.W_enc / std[:, None],
        b_in=mean + bias * std,
        W_dec=parts.W_dec * std,
        b_out=bias * std + mean,
    )


def _beside(source: Source, name: str) -> Tensor | None:
    path = source.path.parent / name
    if not path.is_file():
        return None
    held = open_container(path).tree
    if not isinstance(held, Tensor) or held.is_complex():
        raise BadDictionary(f"{name} beside it holds no tensor")
    return held.float().flatten()


def _is_sdxl(source: Source) -> bool:
    return source.has(*_WEIGHTS) and "n_dirs_local" in source.config


SDXL_UNBOX = Format("sdxl-unbox", _is_sdxl, _read_sdxl)
OPENAI = Format("openai", lambda source: source.has(*_WEIGHTS), _read_openai, FLAVORS)
