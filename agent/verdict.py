"""The verdict: one pure function of measured figures. Importing this module imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

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
    least_sure: float = 0.5
    """Least confidence of a name that is given or shown: below it, it is more likely wrong than right."""


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
    check: float | None = None
    """Self-check of the race."""
    reading: float | None = None
    """F1 with which the name tells the probe set; None where that was not read, or not for this name."""


class Signs(NamedTuple):
    """What speaks for a name. A check or reading that is missing has the value that says nothing."""

    lift: float
    """Of the lower end of the sealed AUROC; for a NOT, of its contrast."""
    shortfall: float
    """How far the lift of an OR's weakest part lies below that; 0 for other names."""
    check: float
    reading: float


class Confidence(Frozen):
    """The chance that a name is right: logistic in its signs, fitted by benchmarks/fit_confidence.py."""

    intercept: float
    lift: float
    shortfall: float
    check: float
    reading: float

    def of(self, signs: Signs) -> float:
        """0..1."""
        weighed = (getattr(self, name) * value for name, value in signs._asdict().items())
        return 1.0 / (1.0 + math.exp(-(self.intercept + math.fsum(weighed))))


UNREAD = 0.6
"""Reading of a name that was not read: between those of right names and of wrong ones, so that its other
signs decide."""
FITTED: Confidence | None = Confidence(intercept=-5.94, lift=3.50, shortfall=-0.42, check=2.26, reading=6.17)
"""The coefficients in use; None: confidence is the lift less the shortfall. Fitted on the suite ``fitting``
(seed 1) with --c 10: 102 names, 96 right; calibration error of names left out .01 [.01, .04]. What the
proposer believes of its name adds nothing to these signs, and an LLM states none."""


class Decision(Frozen):
    """What is said of a feature."""

    verdict: VerdictKind
    confidence: float = Field(ge=0.0, le=1.0)


def lift(auroc: float, floor: float | None, *, ceiling: float | None) -> float:
    """(auroc - floor) / (ceiling - floor), clipped to 0..1; floor at least 1/2, ceiling 1 where unknown."""
    low = max(0.5, floor or 0.0)
    high = 1.0 if ceiling is None else ceiling
    return float(auroc > low) if high <= low else min(1.0, max(0.0, (auroc - low) / (high - low)))


def signs_of(figures: Figures, sealed: CosyScore) -> Signs:
    """What speaks for a name by its figures and the score it was judged on."""
    ceiling = None if sealed.ceiling is None else max(sealed.ceiling, sealed.auroc)
    risen = lift(sealed.auroc_ci.low, figures.floor, ceiling=ceiling)
    parts = [lift(each.auroc_ci.low, figures.floor, ceiling=ceiling) for each in figures.parts]
    return Signs(
        lift=risen,
        shortfall=max(0.0, risen - min(parts, default=risen)),
        check=0.5 if figures.check is None else figures.check,
        reading=UNREAD if figures.reading is None else figures.reading,
    )


def judged_on(figures: Figures, sealed: CosyScore) -> tuple[Figures, CosyScore]:
    """The figures and the score that tells: a NOT is held against what it excludes, and has no floor."""
    if figures.joined != "not" or figures.contrast is None:
        return figures, sealed
    return figures.model_copy(update={"floor": None}), figures.contrast


def decide(figures: Figures, bars: Bars | None = None, confidence: Confidence | None = FITTED) -> Decision:
    """The verdict and the confidence in the name.

    In order: *dead* when it never fires on the probe set; *dense* when its density reaches ``dense``;
    *failed* when nothing could be asked of the generator; with no sealed score, or one of too few usable
    images, what abstaining says (below). With a sealed score: *named* (*polysemantic* for an OR whose parts
    all reach ``part_lift``) when the lift of its AUROC reaches ``named_lift``, the AUROC's interval lies
    above the floor, the interval of its activation rate above that of the control (a NOT, which most of any
    control set satisfies, is held against images of what it excludes instead), and the confidence reaches
    ``least_sure``; else *unrenderable* (below); else *weak* when the confidence reaches ``least_sure``, or,
    for a name that was not read in the probe set, when the lift reaches ``weak_lift`` and the AUROC's
    interval lies above the floor; else it abstains. Abstaining says *unrenderable* when a witness sees in the
    exemplars, and not in the images drawn for it, a text that the generator was asked for, or when the text
    it sees most there is a word the generator does not know; *dense* from ``half_dense`` on, else
    *unexplained*.

    Confidence is the chance that the name is right. Without coefficients it is the lift of the lower end of
    the AUROC's interval (for an OR, of its weakest part where that is lower), which is no chance: a name is
    then shown as weak from ``weak_lift`` on. 0 without a name.
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
    figures, sealed = judged_on(figures, sealed)
    sure = _confidence(figures, sealed, by=confidence)
    if _bar_met(figures, sealed, bars=bars) and (sure >= bars.least_sure or confidence is None):
        verdict: VerdictKind = "polysemantic" if figures.joined == "or" else "named"
        return Decision(verdict=verdict, confidence=sure)
    abstained = _abstain(figures, bars)
    if abstained.verdict == "unrenderable" or not _is_shown(
        figures, sealed, bars=bars, sure=sure, by=confidence
    ):
        return abstained
    return Decision(verdict="weak", confidence=sure)


def _bar_met(figures: Figures, sealed: CosyScore, *, bars: Bars) -> bool:
    """Whether a name is given, as far as its images say."""
    low = max(0.5, figures.floor or 0.0)
    if sealed.auroc_ci.low <= low or lift(sealed.auroc, low, ceiling=sealed.ceiling) < bars.named_lift:
        return False
    # What a NOT excludes may be all that keeps a feature from being on, weakly or strongly.
    if figures.joined != "not" and sealed.activation_rate_ci.low <= sealed.control_rate_ci.high:
        return False
    parts = [lift(part.auroc, low, ceiling=sealed.ceiling) for part in figures.parts]
    return figures.joined != "or" or (len(parts) > 1 and min(parts) >= bars.part_lift)


def _is_shown(figures: Figures, sealed: CosyScore, *, bars: Bars, sure: float, by: Confidence | None) -> bool:
    """Whether a name that misses the bar is shown all the same."""
    if by is not None and figures.reading is not None:
        return sure >= bars.least_sure
    low = max(0.5, figures.floor or 0.0)
    risen = lift(sealed.auroc, low, ceiling=sealed.ceiling)
    return sealed.auroc_ci.low > low and risen >= bars.weak_lift


def _confidence(figures: Figures, sealed: CosyScore, *, by: Confidence | None) -> float:
    signs = signs_of(figures, sealed)
    return round(signs.lift - signs.shortfall if by is None else by.of(signs), 4)


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
