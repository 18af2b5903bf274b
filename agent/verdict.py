"""The verdict: one pure function of measured figures. Importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agent.records import Sighting, VerdictKind
from sae.feature import Frozen
from tools.protocols import CosyScore


class Bars(Frozen):
    """Where the verdicts begin. A lift is the way a figure has come from the floor (0) to the ceiling (1)."""

    named_lift: float = 0.60
    """Least lift of the sealed AUROC of a name that is given."""
    weak_lift: float = 0.20
    """Least lift of a name that is shown."""
    part_lift: float = 0.50
    """Least lift of each part of an OR name on its own images."""
    dense: float = 0.95
    """Density from which no name is sought: a feature that is on nearly everywhere says nothing."""
    half_dense: float = 0.50
    """Density from which an unexplained feature is called dense."""
    exemplars_show: float = 0.60
    """Least lower end of the presence AUROC of a text in exemplars that show it. This and the next are fitted
    on planted-undrawable@1 and planted@1 (seed 1 of the planted dictionaries) with the sandbox's reader."""
    drawn_hide: float = 0.70
    """Greatest upper end of its presence AUROC in drawn images that do not show it: on seed 1 at most .70 for
    words that cannot be drawn, at least .84 for others. It takes four images that show nothing of it."""
    least_usable: float = 0.5
    """Least share of the sealed images that must be usable."""


class Figures(Frozen):
    """All that the verdict depends on."""

    density: float
    threshold: float
    charged: int = 1
    """Images asked of the generator by search and race; 0 where a limit came before the first."""
    joined: Literal["one", "and", "or", "not"] = "one"
    sealed: CosyScore | None = None
    """The sealed score of the name; None when no name was judged."""
    parts: tuple[CosyScore, ...] = ()
    """Sealed scores of the parts of an OR name, each on its own images."""
    contrast: CosyScore | None = None
    """Of a NOT: its sealed images against sealed images of what it excludes."""
    floor: float | None = None
    """AUROC of names chosen at random on this feature."""
    asked: int = 0
    """Sealed images asked for, usable or not."""
    sightings: tuple[Sighting, ...] = ()
    """What a witness saw of the texts asked of the generator; () without one."""


class Decision(Frozen):
    """What is said of a feature."""

    verdict: VerdictKind
    confidence: float = Field(ge=0.0, le=1.0)


def lift(auroc: float, floor: float | None, *, ceiling: float | None) -> float:
    """(auroc - floor) / (ceiling - floor), clipped to 0..1; floor at least 1/2, ceiling 1 where unknown."""
    low = max(0.5, floor or 0.0)
    high = 1.0 if ceiling is None else ceiling
    return float(auroc > low) if high <= low else min(1.0, max(0.0, (auroc - low) / (high - low)))


def decide(figures: Figures, bars: Bars | None = None) -> Decision:
    """The verdict and the confidence in the name.

    In order: *dead* when it never fires on the probe set; *dense* when its density reaches ``dense``;
    *failed* when nothing could be asked of the generator; with no sealed score, or one of too few usable
    images, what abstaining says (below). With a sealed score: *named* (*polysemantic* for an OR whose parts
    all reach ``part_lift``) when the lift of its AUROC reaches ``named_lift``, the AUROC's interval lies
    above the floor, and the interval of its activation rate above that of the control (a NOT, which most of
    any control set satisfies, is held against images of what it excludes instead); *weak* when the lift
    reaches ``weak_lift`` and the AUROC's interval lies above the floor; else it abstains. Abstaining says
    *unrenderable* when a witness sees in the exemplars, and not in the images drawn for it, a text that the
    generator was asked for, or when the text it sees most there is a word the generator does not know;
    *dense* from ``half_dense`` on, else *unexplained*.

    Confidence is in the name: the lift of the lower end of the AUROC's interval (for an OR, of its weakest
    part where that is lower); 0 without a name.
    """
    bars = bars or Bars()
    if figures.density <= 0 or figures.threshold <= 0:
        return Decision(verdict="dead", confidence=0.0)
    if figures.density >= bars.dense:
        return Decision(verdict="dense", confidence=0.0)
    sealed = figures.sealed
    if sealed is None and figures.charged == 0:
        return Decision(verdict="failed", confidence=0.0)
    if sealed is None or sealed.n_generated < bars.least_usable * figures.asked:
        return _abstain(figures, bars)
    if figures.joined == "not" and figures.contrast is not None:
        return _judged(figures.model_copy(update={"floor": None}), figures.contrast, bars=bars)
    return _judged(figures, sealed, bars=bars)


def _judged(figures: Figures, sealed: CosyScore, *, bars: Bars) -> Decision:
    risen = lift(sealed.auroc, figures.floor, ceiling=sealed.ceiling)
    if sealed.auroc_ci.low <= max(0.5, figures.floor or 0.0) or risen < bars.weak_lift:
        return _abstain(figures, bars)
    return Decision(
        verdict=_bar_met(figures, sealed, bars=bars, risen=risen), confidence=_confidence(figures, sealed)
    )


def _bar_met(figures: Figures, sealed: CosyScore, *, bars: Bars, risen: float) -> VerdictKind:
    # What a NOT excludes may be all that keeps a feature from being on, weakly or strongly.
    fires_more = figures.joined == "not" or sealed.activation_rate_ci.low > sealed.control_rate_ci.high
    if risen < bars.named_lift or not fires_more:
        return "weak"
    if figures.joined != "or":
        return "named"
    parts = [lift(part.auroc, figures.floor, ceiling=sealed.ceiling) for part in figures.parts]
    return "polysemantic" if len(parts) > 1 and min(parts) >= bars.part_lift else "weak"


def _confidence(figures: Figures, sealed: CosyScore) -> float:
    ceiling = None if sealed.ceiling is None else max(sealed.ceiling, sealed.auroc)
    lows = [lift(each.auroc_ci.low, figures.floor, ceiling=ceiling) for each in (sealed, *figures.parts)]
    return round(min(lows), 4)


def _abstain(figures: Figures, bars: Bars) -> Decision:
    if _is_unrenderable(figures.sightings, bars):
        return Decision(verdict="unrenderable", confidence=0.0)
    if figures.density >= bars.half_dense:
        return Decision(verdict="dense", confidence=0.0)
    return Decision(verdict="unexplained", confidence=0.0)


def _is_unrenderable(sightings: Sequence[Sighting], bars: Bars) -> bool:
    shared = [each for each in sightings if each.exemplars.ci.low >= bars.exemplars_show]
    if any(each.drawn is not None and each.drawn.ci.high <= bars.drawn_hide for each in shared):
        return True
    return bool(shared) and max(shared, key=lambda each: each.exemplars.auroc).refused
