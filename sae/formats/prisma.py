"""ViT-Prisma: config.json beside n_images_N.pt, or {cfg, state_dict} in older files.

u is x standardised and put back at the output unless the configuration says otherwise; always
h = (u - b_dec) @ W_enc + b_enc, u^ = z @ W_dec + b_dec.
"""

from __future__ import annotations

from sae.card import BackboneSpec
from sae.dictionary import Gate
from sae.errors import BadDictionary
from sae.formats.parts import PEERS_NORM, Activation, Parts
from sae.formats.reading import Format, Hints, Reading, Settings, Source, Tokens
from sae.formats.saelens import CONSTANT_NORM
from sae.layer_norm import LayerNorm

_NORMS: dict[str, LayerNorm | None] = {
    "layer_norm": PEERS_NORM,
    "constant_norm_rescale": CONSTANT_NORM,
    "none": None,
}
FLAVORS = tuple(f"prisma-{norm}" for norm in _NORMS)
"""How activations are normalised, whatever the configuration says."""
_MARKS = ("vit_model_cfg", "model_class_name", "layer_subtype", "cls_token_only", "use_patches_only")
_OPEN_CLIP = "open-clip:"


def _read(source: Source) -> Reading:
    config = source.config
    if config.flag("is_transcoder") or source.has("b_dec_out"):
        raise BadDictionary("it is a transcoder, which maps one layer to another")
    norm, notes = _norm(source)
    gated = source.has("b_gate", "r_mag", "b_mag")
    bias = source.tensor("b_dec")
    parts = Parts(
        W_enc=source.tensor("W_enc"),
        b_enc=source.tensor("b_gate" if gated else "b_enc"),
        W_dec=source.tensor("W_dec"),
        b_in=bias,
        b_out=bias,
        norm=norm,
    )
    gate = Gate(source.tensor("r_mag"), source.tensor("b_mag")) if gated else None
    activation = Activation("gated", gate=gate) if gate else _activation(source)
    return Reading(parts.dictionary(activation), notes, _hints(config))


def _norm(source: Source) -> tuple[LayerNorm | None, tuple[str, ...]]:
    flavor = str(source.flavor).removeprefix("prisma-")
    if flavor in _NORMS:
        return _NORMS[flavor], ()
    said = source.config.text("normalize_activations")
    if said is None:
        return PEERS_NORM, (
            "Its configuration does not say how activations are normalised; read with layer_norm, the "
            "default that the earliest files did not have: flavor 'prisma-none' reads it without.",
        )
    if said not in _NORMS:
        raise BadDictionary(f"it normalises activations by {said[:40]!r}, which is unknown")
    return _NORMS[said], ()


def _activation(source: Source) -> Activation:
    if (source.config.text("architecture") or "standard") not in ("standard", "vanilla", "gated"):
        raise BadDictionary(f"its architecture is {source.config.text('architecture')!r}, which is unknown")
    said = source.config.text("activation_fn_str") or "relu"
    if said == "topk":
        return Activation("topk", k=source.k or source.config.part("activation_fn_kwargs").whole("k"))
    known = {"relu": Activation(), "tanh-relu": Activation(soft_cap=1.0)}
    if said not in known:
        raise BadDictionary(f"its activation is {said[:40]!r}, which is unknown")
    return known[said]


def _hints(config: Settings) -> Hints:
    model, layer = config.hint("model_name"), config.hinted_number("hook_point_layer")
    place = config.hint("layer_subtype")
    clip = model is not None and model.startswith(_OPEN_CLIP) and model.count("/") == 1
    tokens: Tokens = "cls" if config.flag("cls_token_only") else "all"
    return Hints(
        model=model,
        backbone=BackboneSpec(kind="open_clip", source=str(model).removeprefix(_OPEN_CLIP)) if clip else None,
        block=layer if place == "hook_resid_post" else None,
        place=None if layer is None or place is None else f"blocks.{layer}.{place}",
        tokens="patch" if config.flag("use_patches_only") else tokens,
    )


def _claims(source: Source) -> bool:
    marked = any(name in source.config for name in _MARKS)
    pickled = any(name.startswith("vit_prisma.") for name in source.classes)
    return source.has("W_enc", "W_dec", "b_dec") and (marked or pickled)


PRISMA = Format("prisma", _claims, _read, FLAVORS)
