"""One line about a named feature: what a grid of thousands shows and a search looks through."""

from __future__ import annotations

from agent.records import Explanation, VerdictKind
from sae.feature import Frozen
from tools.protocols import Interval


class FeatureRow(Frozen):
    """The latest answer about one feature, in brief."""

    index: int
    name: str | None
    verdict: VerdictKind
    confidence: float
    auroc: float | None
    """Sealed; None where nothing was judged."""
    auroc_ci: Interval | None
    ceiling: float | None
    rate: float | None
    """Share of the judge's images that fire."""
    density: float | None
    """Share of the probe set with a non-zero activation."""
    icon: str | None
    """sha256 of the picture that stands for it: the judge's with the largest activation, else an exemplar."""
    search_images: int
    usd: float | None
    """None where the price is unknown."""
    proposer: str
    run: str
    created: str
    """ISO 8601, UTC."""
    reviewed: bool = False
    """Whether a person ruled on it."""
    scale: float | None = None
    """99th percentile of its non-zero probe activations."""

    @classmethod
    def of(cls, told: Explanation) -> FeatureRow:
        """The line about an explanation."""
        sealed, evidence = told.sealed, told.evidence
        return cls(
            index=told.feature.index,
            name=told.name,
            verdict=told.verdict,
            confidence=told.confidence,
            auroc=None if sealed is None else sealed.auroc,
            auroc_ci=None if sealed is None else sealed.auroc_ci,
            ceiling=None if sealed is None else sealed.ceiling,
            rate=None if sealed is None else sealed.activation_rate,
            density=None if evidence is None else evidence.facts.density,
            icon=_icon(told),
            search_images=told.images.search,
            usd=told.cost.usd,
            proposer=told.proposer,
            run=told.run,
            created=told.created,
            reviewed=told.review is not None,
            scale=None if evidence is None else evidence.facts.p99,
        )


def _icon(told: Explanation) -> str | None:
    evidence = told.evidence
    if evidence is None:
        return None
    if evidence.sealed_images:
        pairs = zip(evidence.sealed_images, evidence.sealed_activations, strict=True)
        return max(pairs, key=lambda pair: pair[1])[0]
    return evidence.exemplars[0].image if evidence.exemplars else None
