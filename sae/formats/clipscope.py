"""clipscope and lasgroup: TopK dictionaries that rank activations of either sign."""

from __future__ import annotations

from torch import Tensor

from sae.errors import BadDictionary
from sae.formats.parts import Activation, Parts
from sae.formats.reading import Format, Hints, Reading, Source
from sae.layer_norm import LayerNorm

UNIT_LENGTH = LayerNorm(eps=0.0, ddof=0, centred=False)
"""x * sqrt(d) / |x|."""


def _read_clipscope(source: Source) -> Reading:
    """h = (x - pre_b) @ enc, x^ = z @ dec + pre_b."""
    said = source.around.get("k")
    k = source.k or (said if type(said) is int else None)
    parts = Parts(
        W_enc=source.tensor("enc"),
        W_dec=source.tensor("dec"),
        b_in=source.tensor("pre_b"),
        b_out=source.tensor("pre_b"),
    )
    folder = source.path.resolve().parent.name.partition("_resid")
    block = int(folder[0]) if folder[1] and folder[0].isdecimal() and len(folder[0]) < 4 else None
    hints = Hints(block=block, place=folder[0] + folder[1] if folder[1] else None, tokens="cls")
    return Reading(parts.dictionary(Activation("topk", k=k, sign="keep")), (), hints)


def _read_lasgroup(source: Source) -> Reading:
    """Of embeddings of length 1, whose length goes back into the reconstruction."""
    d, k = source.config.whole("feature_dim"), source.top("k")
    if d is None or d < 1:
        raise BadDictionary("its configuration lacks feature_dim")
    encoder, decoder = (_matrix(source, name, d) for name in ("encoder", "decoder"))
    parts = Parts(
        # In units of sqrt(d) times the embedding of length 1, as the norm makes it.
        W_enc=encoder,
        b_enc=_bias(source, "encoder"),
        W_dec=decoder.T,
        b_out=_bias(source, "decoder"),
        norm=UNIT_LENGTH,
        scale=d**-0.5,
    )
    notes = (
        "It was trained on embeddings of length 1: others are brought to that length and their "
        "reconstructions back.",
        "That it keeps activations of either sign is its code's, not the file's.",
    )
    return Reading(parts.dictionary(Activation("topk", k=k, sign="keep")), notes, Hints(place="pooled"))


def _matrix(source: Source, name: str, d: int) -> Tensor:
    """(d, F) whichever way it lies; of a square one as torch's Linear keeps it."""
    found = source.tensor(f"{name}.weight")
    if found.ndim != 2 or d not in found.shape:
        raise BadDictionary(f"its {name} has shape {tuple(found.shape)}, not {d} by the features")
    rows_are_features = found.shape[1] == d and (found.shape[0] != d or name == "encoder")
    return found.T if rows_are_features else found


def _bias(source: Source, name: str) -> Tensor | None:
    return source.tensors.get(f"{name}.bias", source.tensors.get(f"{name}_bias"))


CLIPSCOPE = Format("clipscope", lambda source: source.has("pre_b", "enc", "dec"), _read_clipscope)
LASGROUP = Format(
    "lasgroup",
    lambda source: source.has("encoder.weight", "decoder.weight") and "feature_dim" in source.config,
    _read_lasgroup,
)
