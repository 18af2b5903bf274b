"""Files of W_enc, b_enc, W_dec and b_dec that nothing describes: names of many libraries with many meanings.

They are read as ``flavor`` says, or not at all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from sae.architectures import Architecture
from sae.errors import UnfitRequest
from sae.formats.named import named_activation
from sae.formats.parts import PEERS_NORM, Parts
from sae.formats.reading import Format, Reading, Source
from sae.layer_norm import LayerNorm

NAMES = ("W_enc", "b_enc", "W_dec", "b_dec")


class Meaning(NamedTuple):
    """What a library does with the four."""

    subtract: bool
    """b_dec before encoding."""
    use_b_enc: bool = True
    norm: LayerNorm | None = None
    ranks: Architecture | None = None
    """What it is without a threshold, where its features are ranked."""


MEANINGS: dict[str, Meaning] = {
    "saelens-subtracting": Meaning(subtract=True),
    "saelens-plain": Meaning(subtract=False),
    "hugofry": Meaning(subtract=True),
    "patchsae": Meaning(subtract=True),
    "conceptscope": Meaning(subtract=True),
    "prisma": Meaning(subtract=True, norm=PEERS_NORM),
    "prisma-layer_norm": Meaning(subtract=True, norm=PEERS_NORM),
    "prisma-none": Meaning(subtract=True),
    "bussmann-vanilla": Meaning(subtract=True),
    "bussmann-topk": Meaning(subtract=True, use_b_enc=False, ranks="topk"),
    "bussmann-batchtopk": Meaning(subtract=True, use_b_enc=False, ranks="batchtopk"),
    "bussmann-jumprelu": Meaning(subtract=False),
    "saev-plain": Meaning(subtract=False),
    "saev-subtracting": Meaning(subtract=True),
    "gemma-scope": Meaning(subtract=False),
    "dictionary_learning-jumprelu": Meaning(subtract=False),
    "dictionary_learning-matryoshka": Meaning(subtract=True, ranks="batchtopk"),
}


def _read(source: Source) -> Reading:
    meaning = MEANINGS.get(source.flavor or "")
    if meaning is None:
        raise UnfitRequest(
            f"it holds {', '.join(list(source.tensors)[:12])}, which several libraries write and mean "
            "differently, and no configuration says whose they are; give flavor, one of "
            f"{', '.join(MEANINGS)}"
        )
    gated = source.has("b_gate", "r_mag", "b_mag")
    bias = source.tensor("b_dec")
    parts = Parts(
        W_enc=source.tensor("W_enc"),
        b_enc=source.tensor("b_gate" if gated else "b_enc") if meaning.use_b_enc else None,
        W_dec=source.tensor("W_dec"),
        b_in=bias if meaning.subtract else None,
        b_out=bias,
        norm=meaning.norm,
    )
    activation = named_activation(source, source.k)
    if meaning.ranks and activation.architecture in ("relu", "topk"):
        activation = activation._replace(architecture=meaning.ranks)
    return Reading(parts.dictionary(activation))


def _read_gemma(source: Source) -> Reading:
    """params.npz: nothing is subtracted, and each feature has its threshold."""
    return _read(replace(source, flavor="gemma-scope"))


QUADRUPLE = Format("quadruple", lambda source: source.has("W_enc", "W_dec", "b_dec"), _read, tuple(MEANINGS))
GEMMA_SCOPE = Format(
    "gemma-scope", lambda source: source.kind == "npz" and source.has(*NAMES, "threshold"), _read_gemma
)
