"""A named feature as one flat row: what the CSV has as columns, and the JSON lines as keys."""

from __future__ import annotations

from agent.feature_rows import FeatureRow
from agent.records import VerdictKind
from namesae.service.feature_query import GridRow
from sae.feature import Frozen


class FlatRow(Frozen):
    """One feature of a dictionary; None where a figure is not known."""

    dictionary: str
    index: int
    name: str | None = None
    verdict: VerdictKind | None = None
    """None where nobody has named it."""
    confidence: float | None = None
    auroc: float | None = None
    """Sealed, with its 95 % interval and the ceiling."""
    auroc_low: float | None = None
    auroc_high: float | None = None
    ceiling: float | None = None
    rate: float | None = None
    """Share of the judge's images that fire."""
    density: float | None = None
    """Share of the probe set with a non-zero activation."""
    scale: float | None = None
    """99th percentile of its non-zero probe activations."""
    search_images: int | None = None
    usd: float | None = None
    proposer: str | None = None
    run: str | None = None
    created: str | None = None
    """ISO 8601, UTC."""
    reviewed: bool | None = None
    """Whether a person ruled on it."""
    icon: str | None = None
    """sha256 of the picture that stands for it."""


_SAME = frozenset(FlatRow.model_fields) & frozenset(FeatureRow.model_fields) - {"density", "scale"}


def flat_row(dictionary: str, row: GridRow) -> FlatRow:
    """The row of a feature."""
    known = {"dictionary": dictionary, "index": row.index, "density": row.density, "scale": row.scale}
    answer = row.answer
    if answer is None:
        return FlatRow.model_validate(known)
    interval = answer.auroc_ci
    told = {name: getattr(answer, name) for name in _SAME}
    told["auroc_low"] = None if interval is None else interval.low
    told["auroc_high"] = None if interval is None else interval.high
    return FlatRow.model_validate(told | known)
