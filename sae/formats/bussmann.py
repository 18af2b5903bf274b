"""bussmann's BatchTopK and Matryoshka dictionaries: sae.pt beside config.json.

u is x standardised and put back at the output where input_unit_norm says so; h = (u - b_dec) @ W_enc, with
b_enc in the vanilla and jumprelu ones only, the latter not subtracting b_dec; u^ = z @ W_dec + b_dec.
"""

from __future__ import annotations

import torch

from sae.errors import UnfitRequest
from sae.formats.named import UNCALIBRATED
from sae.formats.parts import PEERS_NORM, Activation, Parts, floating
from sae.formats.reading import Format, Reading, Source

_TYPES = {
    "vanilla": "vanilla",
    "topk": "topk",
    "batchtopk": "batchtopk",
    "jumprelu": "jumprelu",
    "global-matryoshka-topk": "batchtopk",
}
FLAVORS = tuple(f"bussmann-{kind}" for kind in ("vanilla", "topk", "batchtopk", "jumprelu"))
"""For files without config.json, of activations that were not standardised."""


def _read(source: Source) -> Reading:
    kind = _kind(source)
    bias = source.tensor("b_dec")
    parts = Parts(
        W_enc=source.tensor("W_enc"),
        b_enc=source.tensor("b_enc") if kind in ("vanilla", "jumprelu") else None,
        W_dec=source.tensor("W_dec"),
        b_in=None if kind == "jumprelu" else bias,
        b_out=bias,
        norm=PEERS_NORM if source.config.flag("input_unit_norm") else None,
    )
    activation = _activation(source, kind)
    uncalibrated = activation.architecture == "batchtopk" and activation.threshold is None
    return Reading(parts.dictionary(activation), (UNCALIBRATED,) if uncalibrated else ())


def _kind(source: Source) -> str:
    flavor = str(source.flavor).removeprefix("bussmann-")
    if flavor in _TYPES:
        return flavor
    said = source.config.text("sae_type") or ""
    if said not in _TYPES:
        raise UnfitRequest(
            f"its sae_type is {said[:40]!r}, not one of {', '.join(_TYPES)}; give flavor, one of "
            f"{', '.join(FLAVORS)}"
        )
    return _TYPES[said]


def _activation(source: Source, kind: str) -> Activation:
    if kind == "vanilla":
        return Activation()
    if kind == "jumprelu":
        return Activation(
            "jumprelu", threshold=floating(source.tensor("jumprelu.log_threshold"), "log_threshold").exp()
        )
    k = source.top("top_k")
    if kind == "topk":
        return Activation("topk", k=k)
    threshold = source.one_number("threshold")
    if threshold is not None and threshold > 0:
        return Activation("batchtopk", k=k, threshold=torch.tensor(threshold))
    return Activation("batchtopk", k=k)


def _claims(source: Source) -> bool:
    marked = "sae_type" in source.config and ("act_size" in source.config or "dict_size" in source.config)
    return source.has("W_enc", "W_dec", "b_dec") and marked


BUSSMANN = Format("bussmann", _claims, _read, FLAVORS)
