"""How well a dictionary fits activations: global FVU, L0, silent features."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sae.dictionary import SparseDictionary
from sae.metrics import FvuSum


class Fit(NamedTuple):
    """Measured over the whole of one set of activations."""

    fvu: float
    """Global: sum |x^ - x|^2 / sum |x - mean x|^2."""
    l0: float
    """Mean number of active features per row."""
    silent: float
    """Share of the features that no row activates."""


@torch.inference_mode()
def measure_fit(dictionary: SparseDictionary, activations: Tensor, *, batch_size: int = 4096) -> Fit:
    """Encode and decode (n, d) activations, on the dictionary's device."""
    total, active = FvuSum(), torch.zeros(dictionary.n_features, dtype=torch.int64)
    for start in range(0, len(activations), batch_size):
        x = activations[start : start + batch_size]
        on = x.to(dictionary.W_enc.device, torch.float32)
        codes = dictionary.encode(on)
        decoded = dictionary.decode(codes, statistics=dictionary.statistics(on))
        total.add(x.float().cpu().numpy(), decoded.cpu().numpy())
        active += (codes != 0).sum(0).cpu()
    return Fit(
        fvu=total.value,
        l0=float(active.sum()) / len(activations),
        silent=float((active == 0).double().mean()),
    )
