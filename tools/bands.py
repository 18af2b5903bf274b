"""Quantile bands of a feature's positive activations."""

from __future__ import annotations

import numpy as np

from tools.errors import ToolError
from tools.protocols import Floats, Ints


def band_slice(live: int, *, count: int, low: float, high: float) -> slice:
    """Where the ``count`` highest of a quantile band lie among ``live`` activations sorted from the highest.

    The i-th highest has quantile 1 - (i + 1/2) / live. ToolError when the band is not inside [0, 1] or
    ``count`` < 1.
    """
    if not (0.0 <= low < high <= 1.0) or count < 1:
        raise ToolError(
            f"Band [{low}, {high}] with count {count} is not one: use 0 <= low < high <= 1, count >= 1."
        )
    quantile = 1.0 - (np.arange(live) + 0.5) / max(live, 1)
    inside = np.flatnonzero((quantile >= low) & (quantile <= high))[:count]
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def quantile_band(activations: Floats, *, count: int, low: float, high: float) -> Ints:
    """Rows of an (n,) column inside a quantile band of its positive values, highest first.

    Ties keep the order of the rows. Raises as band_slice does.
    """
    live = np.flatnonzero(activations > 0)
    ordered = live[np.argsort(-activations[live], kind="stable")]
    return ordered[band_slice(len(live), count=count, low=low, high=high)].astype(np.int32)
