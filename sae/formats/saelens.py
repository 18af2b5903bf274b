"""SAELens: sae_weights.safetensors beside cfg.json since version 6, flat configurations before.

b_dec is subtracted where apply_b_dec_to_input says so. Its scaled activations and codes scaled by decoder
norms are folded; transcoders, temporal ones and matching pursuit are refused by name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from sae.dictionary import Gate
from sae.errors import BadDictionary
from sae.formats.container import open_container
from sae.formats.named import UNCALIBRATED
from sae.formats.parts import PEERS_NORM, Activation, Parts, floating, folded_norms
from sae.formats.reading import Format, Hints, Reading, Settings, Source
from sae.formats.wrappers import settings_of
from sae.layer_norm import LayerNorm

FLAVORS = ("saelens-subtracting", "saelens-plain")
"""b_dec subtracted before encoding or not, for files without cfg.json."""
CONSTANT_NORM = LayerNorm(eps=0.0, ddof=0, centred=False)
"""x * sqrt(d) / |x|, undone at the output."""
WHITENING = "activation_whitening.safetensors"
_MARKS = ("apply_b_dec_to_input", "sae_lens_training_version", "sae_lens_version", "hook_point", "hook_name")
_NORMS: dict[str, LayerNorm] = {"layer_norm": PEERS_NORM, "constant_norm_rescale": CONSTANT_NORM}
_REFUSED = {
    "matching_pursuit": "it encodes by matching pursuit",
    "temporal": "it is a temporal one, which attends to earlier tokens",
    "transcoder": "it is a transcoder, which maps one layer to another",
    "crosscoder": "it is a crosscoder over several layers",
    "clt": "it is a transcoder across layers",
}
_RANKED = {"batchtopk": "batchtopk", "matryoshka_batchtopk": "batchtopk", "topk": "topk", "abstopk": "topk"}


def _read(source: Source) -> Reading:
    config = source.config
    kind = _architecture(config)
    parts = _parts(source, gated=kind == "gated")
    if config.flag("rescale_acts_by_decoder_norm") and kind in _RANKED:
        W_enc, b_enc, W_dec = folded_norms(parts.W_enc, source.tensor("b_enc"), parts.W_dec)
        parts = replace(parts, W_enc=W_enc, b_enc=b_enc, W_dec=W_dec)
    if source.has("scaling_factor") and config.flag("finetuning_scaling_factor"):
        parts = replace(parts, W_dec=_stretched(parts.W_dec, source.tensor("scaling_factor")))
    parts, notes = _normalised(source, parts)
    activation, more = _activation(source, kind)
    return Reading(parts.dictionary(activation), (*notes, *more), hints_of(config))


def _architecture(config: Settings) -> str:
    said = config.text("architecture") or "standard"
    refused = next((why for part, why in _REFUSED.items() if part in said), None)
    if refused is not None:
        raise BadDictionary(f"its architecture is {said}: {refused}, and no dictionary here does that")
    if said == "standard":
        function = config.text("activation_fn") or config.text("activation_fn_str") or "relu"
        return "topk" if function == "topk" else function
    return said


def _parts(source: Source, *, gated: bool) -> Parts:
    if source.has("W_skip"):
        raise BadDictionary("it is a transcoder with a skip connection, which no dictionary here is")
    bias = source.tensor("b_dec")
    said = {"saelens-subtracting": True, "saelens-plain": False}.get(str(source.flavor))
    if said is None:
        said = source.config.flag("apply_b_dec_to_input")
    return Parts(
        W_enc=source.tensor("W_enc"),
        b_enc=source.tensor("b_gate" if gated else "b_enc"),
        W_dec=source.tensor("W_dec"),
        # Those older than the setting all subtracted.
        b_in=bias if said is not False else None,
        b_out=bias,
    )


def _stretched(W_dec: Tensor, factor: Tensor) -> Tensor:
    if W_dec.ndim != 2 or tuple(factor.shape) != W_dec.shape[:1]:
        raise BadDictionary(f"its scaling_factor has shape {tuple(factor.shape)}")
    return floating(W_dec, "decoder") * floating(factor, "scaling_factor")[:, None]


def _normalised(source: Source, parts: Parts) -> tuple[Parts, tuple[str, ...]]:
    said = source.config.held.get("normalize_activations")
    if said is not None and not isinstance(said, str | bool):
        raise BadDictionary(f"it normalises activations by {str(said)[:40]!r}, which is no name")
    if isinstance(said, bool):
        said = "expected_average_only_in" if said else "none"
    if said in (None, "none"):
        return parts, ()
    if said in _NORMS:
        return replace(parts, norm=_NORMS[str(said)]), ()
    if said == "expected_average_only_in":
        factor = settings_of(source.files.get("activation_scaler.json")).number("scaling_factor")
        if factor is not None:
            return replace(parts, scale=factor), ()
        return parts, (
            "It wants activations of mean norm sqrt(width), and no activation_scaler.json gives the factor; "
            "read as if it were folded into the weights.",
        )
    if said == "covariance_whitening":
        return _whitened(source, parts), ()
    raise BadDictionary(f"it normalises activations by {str(said)[:40]!r}, which is unknown")


def _whitened(source: Source, parts: Parts) -> Parts:
    """u = (x - mean) @ matrix and back by its inverse, folded."""
    path = source.path.parent / WHITENING
    if not path.is_file():
        raise BadDictionary(f"it whitens activations, and {WHITENING} is not beside it")
    held = open_container(path).tree
    d = parts.W_enc.shape[0]
    shapes = {"mean": (d,), "matrix": (d, d), "inverse_matrix": (d, d)}
    if not isinstance(held, dict) or any(
        not isinstance(held.get(name), Tensor) or tuple(held[name].shape) != shape
        for name, shape in shapes.items()
    ):
        raise BadDictionary(
            f"{WHITENING} beside it does not hold mean, matrix and inverse_matrix of its size"
        )
    mean, matrix, inverse = (held[name].double() for name in shapes)
    # Sizes are checked on the way.
    parts.dictionary(Activation())
    before = mean if parts.b_in is None else mean + parts.b_in.double() @ inverse
    after = mean if parts.b_out is None else mean + parts.b_out.double() @ inverse
    return replace(
        parts,
        W_enc=(matrix @ parts.W_enc.double()).float(),
        b_in=before.float(),
        W_dec=(parts.W_dec.double() @ inverse).float(),
        b_out=after.float(),
    )


def _activation(source: Source, kind: str) -> tuple[Activation, tuple[str, ...]]:
    plain = {"relu": Activation(), "tanh-relu": Activation(soft_cap=1.0)}
    if kind in plain:
        return plain[kind], ()
    if kind == "jumprelu":
        return Activation("jumprelu", threshold=source.tensor("threshold")), ()
    if kind == "gated":
        return Activation("gated", gate=Gate(source.tensor("r_mag"), source.tensor("b_mag"))), ()
    if kind not in _RANKED:
        raise BadDictionary(f"its architecture is {kind[:40]!r}, which is unknown")
    return _ranked(source, kind)


def _ranked(source: Source, kind: str) -> tuple[Activation, tuple[str, ...]]:
    k = source.k or source.config.whole("k") or source.config.part("activation_fn_kwargs").whole("k")
    if _RANKED[kind] == "batchtopk" and source.has("topk_threshold"):
        return Activation("batchtopk", k=k, threshold=source.tensor("topk_threshold").reshape(-1)), ()
    if _RANKED[kind] == "topk":
        return Activation("topk", k=k, sign="abs" if kind == "abstopk" else "relu"), ()
    return Activation("batchtopk", k=k), (UNCALIBRATED,)


def hints_of(config: Settings) -> Hints:
    """What its configurations of any version say of the model."""
    inner = config.part("metadata")

    def said(*names: str) -> Any:
        found = (held.held.get(name) for held in (inner, config) for name in names)
        return next((each for each in found if each is not None), None)

    layer, place = said("hook_point_layer", "hook_layer"), said("hook_name", "hook_point")
    model = said("model_name")
    residual = isinstance(place, str) and place.endswith("hook_resid_post")
    return Hints(
        model=model if isinstance(model, str) else None,
        block=layer if type(layer) is int and residual else None,
        place=place if isinstance(place, str) else None,
    )


def _claims(source: Source) -> bool:
    pursuit = source.has("W_dec", "b_dec") and "architecture" in source.config
    if not (pursuit or source.has("W_enc", "W_dec")) or "vit_model_cfg" in source.config:
        return False
    metadata = source.config.held.get("metadata")
    inner = metadata if isinstance(metadata, dict) else {}
    return any(name in source.config or name in inner for name in _MARKS) or any(
        name.startswith("sae_lens.") for name in source.classes
    )


SAELENS = Format("saelens", _claims, _read, FLAVORS)
