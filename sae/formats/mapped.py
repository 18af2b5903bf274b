"""Research one-offs: whoever loads the file says which of its weights is what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sae.errors import BadDictionary, UnfitRequest
from sae.formats.parts import Activation, Parts
from sae.formats.reading import Reading, Source

NAMES = ("W_enc", "b_enc", "W_dec", "b_dec", "b_in", "mean", "scale", "threshold")
"""What a mapping may name. W_enc alone must be: without W_dec the decoder is its transpose."""


def read_mapped(source: Source, mapping: Mapping[str, str]) -> Reading:
    """h = ((x - mean) * scale - b_in) @ W_enc + b_enc; topk where k is given, above a threshold where one is.

    A matrix is turned where its sizes show that it must be; a square one where the file's name for it ends
    in 'weight', as torch's Linear keeps it, or the mapping's in '.T'. BadDictionary.
    """
    unknown = [name for name in mapping if name not in NAMES]
    if unknown or "W_enc" not in mapping:
        raise UnfitRequest(
            f"a mapping of {', '.join(mapping) or 'nothing'} was given; it must name W_enc, and may "
            f"{', '.join(NAMES[1:])}"
        )
    held = {name: _named(source, key) for name, key in mapping.items()}
    parts = _parts(held, mapping)
    return Reading(parts.dictionary(_activation(held, source.k)))


def _named(source: Source, key: str) -> Tensor:
    found = source.tensors.get(key, source.tensors.get(key.removesuffix(".T")))
    if found is None:
        raise UnfitRequest(f"it holds no {key}, but {', '.join(list(source.tensors)[:12])}")
    return found


def _parts(held: Mapping[str, Tensor], mapping: Mapping[str, str]) -> Parts:
    W_enc = _matrix(held["W_enc"], wide=True, name=mapping["W_enc"])
    decoder = held.get("W_dec")
    W_dec = W_enc.T if decoder is None else _matrix(decoder, wide=False, name=mapping["W_dec"])
    vectors: dict[str, Any] = {
        name: held[name].flatten() for name in ("b_in", "b_enc", "mean") if name in held
    }
    if "b_dec" in held:
        vectors["b_out"] = held["b_dec"].flatten()
    scale = held.get("scale")
    if scale is not None and scale.numel() != 1:
        raise BadDictionary(f"its {mapping['scale']} has shape {tuple(scale.shape)}, not one number")
    return Parts(W_enc=W_enc, W_dec=W_dec, scale=1.0 if scale is None else float(scale), **vectors)


def _matrix(found: Tensor, *, wide: bool, name: str) -> Tensor:
    """(d, F) or, unless ``wide``, (F, d), with more features than d where both are there."""
    if found.ndim != 2:
        raise BadDictionary(f"its {name} has shape {tuple(found.shape)}, not two sizes")
    rows, columns = found.shape
    square = rows == columns
    turn = name.endswith(("weight", ".T")) if square else (rows > columns) == wide
    return found.T if turn else found


def _activation(held: Mapping[str, Tensor], k: int | None) -> Activation:
    threshold = held.get("threshold")
    if threshold is not None:
        return Activation("batchtopk" if threshold.numel() == 1 else "jumprelu", k=k, threshold=threshold)
    return Activation() if k is None else Activation("topk", k=k)
