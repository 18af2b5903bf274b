"""MSAE: dictionaries of CLIP embeddings whose configuration is their file's name.

With v = (x - mean) * s, LayerNorm where the name says so: h = (v - b) @ encoder + latent_bias,
v^ = cap(act(h)) @ decoder + b, x^ = v^ / s + mean; the decoder of a tied one is the encoder's transpose.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sae.errors import BadDictionary, UnfitRequest
from sae.formats.named import UNCALIBRATED
from sae.formats.parts import PEERS_NORM, Activation, Parts, floating
from sae.formats.reading import Format, Hints, Reading, Source

FLAVORS = (
    *("msae-ReLU", "msae-JumpReLU", "msae-Identity"),
    *("msae-TopK", "msae-TopKReLU", "msae-TopKabs", "msae-TopKabsReLU"),
    *("msae-BatchTopK", "msae-BatchTopKReLU", "msae-BatchTopKabs", "msae-BatchTopKabsReLU"),
)
"""Activations, for files that were renamed."""
_MODEL = re.compile(r"_(ViT-\w+?~\d+|RN\d+\w*?)_")
_SIGNS = {"": "keep", "ReLU": "relu", "abs": "abs", "absReLU": "abs-relu"}


class _Name(NamedTuple):
    """What a file's name says."""

    activation: str
    k: int | None = None
    normalise: bool = False
    soft_cap: float = 0.0


def parse_name(name: str) -> _Name:
    """'{n}_{d}_{activation}[_{k}][_{RW|UW}]_{tied}_{normalise}_{soft cap}_{data}.pth'. BadDictionary."""
    words = name.partition(".pt")[0].split("_")
    try:
        int(words.pop(0)), int(words.pop(0))
        activation, k = words.pop(0), None
        if f"msae-{activation}" not in FLAVORS:
            raise ValueError(activation)
        if "TopK" in activation:
            k = int(words.pop(0))
        elif words[0] not in ("True", "False", "UW", "RW", "FW"):
            words.pop(0)
        if words[0] in ("UW", "RW", "FW"):
            words.pop(0)
        flags = {"True": True, "False": False}
        _, normalise = flags[words.pop(0)], flags[words.pop(0)]
        return _Name(activation, k, normalise, float(words.pop(0)))
    except (ValueError, IndexError, KeyError) as error:
        raise UnfitRequest(
            f"its name {name!r} does not hold the configuration, as "
            "6144_768_TopKReLU_64_RW_False_False_0.0_data.pth does; rename it so, or give flavor, one of "
            f"{', '.join(FLAVORS)}, and k for a TopK"
        ) from error


def _read(source: Source) -> Reading:
    named = source.flavor in FLAVORS and source.flavor is not None
    said = _Name(str(source.flavor).partition("-")[2]) if named else parse_name(source.path.name)
    encoder, bias = source.tensor("encoder"), source.tensor("pre_bias")
    if encoder.ndim != 2:
        raise BadDictionary(f"its encoder has shape {tuple(encoder.shape)}, not two sizes")
    parts = Parts(
        W_enc=encoder,
        W_dec=source.tensor("decoder") if source.has("decoder") else encoder.T,
        b_in=bias,
        b_enc=source.tensor("latent_bias"),
        b_out=bias,
        mean=_mean(source.around.get("mean_center", 0.0), encoder.shape[0]),
        scale=_one_number(source.around.get("scaling_factor", 1.0)),
        norm=PEERS_NORM.model_copy(update={"after_scale": True}) if said.normalise else None,
    )
    dictionary = parts.dictionary(_activation(said, source, encoder.shape[1]))
    model = _MODEL.search(source.path.name)
    hints = Hints(model=model[1].replace("~", "/") if model else None, place="pooled")
    return Reading(dictionary, tuple(_notes(said, source)), hints)


def _activation(said: _Name, source: Source, n_features: int) -> Activation:
    if not 0 <= said.soft_cap < float("inf"):
        raise BadDictionary(f"its name says a soft cap of {said.soft_cap}")
    cap = said.soft_cap or None
    if said.activation == "JumpReLU":
        return Activation(
            "jumprelu",
            threshold=floating(source.tensor("activation.log_threshold"), "log_threshold").exp(),
            soft_cap=cap,
        )
    if "TopK" not in said.activation:
        identity = said.activation == "Identity"
        return (
            Activation("topk", k=n_features, sign="keep", soft_cap=cap)
            if identity
            else Activation(soft_cap=cap)
        )
    k = source.k or said.k
    batch, _, sign = said.activation.partition("TopK")
    return Activation("batchtopk" if batch else "topk", k=k, sign=_SIGNS[sign], soft_cap=cap)


def _notes(said: _Name, source: Source) -> list[str]:
    notes = []
    if source.flavor in FLAVORS:
        notes.append("Whether it normalises and caps activations only its file's name tells; read without.")
    if said.activation.startswith("Batch"):
        notes.append(UNCALIBRATED)
    if _one_number(source.around.get("scaling_factor", 1.0)) != 1 or said.normalise:
        notes.append("Activations are centred and scaled as the file says before they are encoded.")
    return notes


def _mean(held: Any, width: int) -> Tensor:
    if isinstance(held, Tensor) and held.numel() > 1:
        return held
    return torch.full((width,), _one_number(held))


def _one_number(held: Any) -> float:
    if isinstance(held, Tensor) and held.numel() == 1:
        return float(held)
    if isinstance(held, int | float) and not isinstance(held, bool) and abs(held) < 2**53:
        return float(held)
    raise BadDictionary("its mean_center or its scaling_factor is no number")


MSAE = Format("msae", lambda source: source.has("pre_bias", "encoder", "latent_bias"), _read, FLAVORS)
