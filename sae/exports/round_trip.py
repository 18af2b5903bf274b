"""How far two dictionaries are apart: the largest difference of their reconstructions in double precision."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from sae.architectures import SIGNS
from sae.dictionary import Gate, SparseDictionary

TOLERANCE = 1e-5
_ROWS = 64
_TIE = 1e-6


def difference(first: SparseDictionary, second: SparseDictionary, *, seed: int = 0) -> float:
    """Largest |x^ - x^'| on random activations, relative where x^ exceeds 1.

    Rows where a feature of the first is within rounding of becoming active or not are left out, half of them
    at most: there the two may rightly differ. inf where the two do not fit each other.
    """
    if (first.width, first.n_features) != (second.width, second.n_features):
        return float("inf")
    first, second = doubled(first), doubled(second)
    x = _activations(first, seed)
    wanted = first.reconstruct(x)
    apart = (wanted - second.reconstruct(x)).abs().amax(1) / wanted.abs().amax().clamp(min=1)
    clear = ~_undecided(first, x)
    if 2 * int(clear.sum()) < len(x):
        clear[:] = True
    return float(apart[clear].max())


def doubled(dictionary: SparseDictionary) -> SparseDictionary:
    """The same in float64."""
    held: dict[str, Any] = {field.name: getattr(dictionary, field.name) for field in fields(dictionary)}
    made = {name: value.double() for name, value in held.items() if isinstance(value, Tensor)}
    gate = dictionary.gate
    changes: dict[str, Any] = dict(made)
    if gate is not None:
        changes["gate"] = Gate(gate.r_mag.double(), gate.b_mag.double())
    return replace(dictionary, **changes)


def pre_activations(dictionary: SparseDictionary, x: Tensor) -> Tensor:
    """(b, F) what its features' activations are made of."""
    all_kept: dict[str, Any] = {"architecture": "topk", "k": dictionary.n_features, "sign": "keep"}
    bare: dict[str, Any] = {"threshold": None, "soft_cap": None, "gate": None}
    return replace(dictionary, **all_kept, **bare).encode(x)


def _activations(dictionary: SparseDictionary, seed: int) -> Tensor:
    """As far from the mean as the scale says that activations are."""
    chance = torch.Generator().manual_seed(seed)
    drawn = torch.randn(_ROWS, dictionary.width, generator=chance, dtype=torch.float64)
    return drawn / dictionary.scale + dictionary.mean


def _undecided(dictionary: SparseDictionary, x: Tensor) -> Tensor:
    """(b,) whether rounding may decide which features of a row are active."""
    h = pre_activations(dictionary, x)
    near = _TIE * h.abs().amax(1).clamp(min=1)
    if dictionary.architecture == "topk":
        ranked = SIGNS[dictionary.sign].rank(h).sort(dim=1, descending=True).values
        k = min(dictionary.k or 0, h.shape[1] - 1)
        return (ranked[:, k - 1] - ranked[:, k] <= near) & (ranked[:, k - 1] > 0)
    if dictionary.architecture == "relu":
        return torch.zeros(len(x), dtype=torch.bool)
    limit = h.new_zeros(()) if dictionary.threshold is None else dictionary.threshold
    return ((SIGNS[dictionary.sign].rank(h) - limit).abs() <= near[:, None]).any(1)
