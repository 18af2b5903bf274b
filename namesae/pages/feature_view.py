"""What the page of a feature says about one explanation. Pure: reads no store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agent.records import Evidence, Explanation, Rival
from namesae.pages.figures import figure, interval, share, shares
from namesae.pages.search_steps import NARROW, WIDTH, SearchStep, Shown, StepPlot, search_steps, step_plot
from tools.protocols import CosyScore, Interval


class Mark(NamedTuple):
    """A figure between 0 and 1 as a row of the panel that says how sure a name is."""

    label: str
    value: float
    ci: Interval | None
    said: str
    """The figure and its interval in words."""
    note: str
    """n, and what it is measured against."""
    ceiling: float | None = None
    chance: float | None = None
    kind: str = ""
    """'drawn' and 'control' lie side by side in two colours."""


class RivalRow(NamedTuple):
    """A name that raced, and why it lost."""

    rival: Rival
    is_winner: bool
    why: str


class FeatureView(NamedTuple):
    """An explanation, laid out."""

    marks: tuple[Mark, ...]
    exemplars: tuple[Shown, ...]
    """Strongest first."""
    sealed: tuple[Shown, ...]
    """Strongest first."""
    steps: tuple[SearchStep, ...]
    plots: tuple[StepPlot, ...]
    """Of the search, for a wide and a narrow window."""
    rivals: tuple[RivalRow, ...]
    parts: tuple[tuple[str, CosyScore | None], ...]
    """The parts of an AND or OR name; of an OR each with its own sealed score."""


def feature_view(told: Explanation) -> FeatureView:
    """Everything the page shows of an explanation."""
    evidence = told.evidence
    threshold = evidence.facts.threshold if evidence else 0.0
    steps = search_steps(evidence.trials if evidence else (), threshold=threshold)
    return FeatureView(
        marks=_marks(told),
        exemplars=_exemplars(evidence, threshold),
        sealed=_sealed(evidence, threshold),
        steps=steps,
        plots=tuple(
            filter(None, (step_plot(steps, threshold=threshold, width=each) for each in (WIDTH, NARROW)))
        ),
        rivals=_rivals(told),
        parts=_parts(told),
    )


def _marks(told: Explanation) -> tuple[Mark, ...]:
    marks = [] if told.sealed is None else _sealed_marks(told.sealed)
    evidence = told.evidence
    if evidence is not None and evidence.floor_auroc is not None:
        said = figure(evidence.floor_auroc)
        note = "mean AUROC of other names on this feature"
        marks.append(Mark("Random-name floor", evidence.floor_auroc, None, said, note, chance=0.5))
    if told.search_score is not None:
        gap = None if evidence is None else evidence.optimism_gap
        note = "on the images of the race"
        note += "" if gap is None else f"; optimism gap {figure(gap, 3) if gap < 0 else '+' + figure(gap, 3)}"
        marks.append(Mark("Race AUROC", told.search_score, None, figure(told.search_score), note, chance=0.5))
    if evidence is not None and evidence.check is not None:
        note = "balanced accuracy of what the name predicted, firing and resting"
        marks.append(Mark("Self-check", evidence.check, None, figure(evidence.check), note, chance=0.5))
    if evidence is not None and evidence.told is not None:
        note = "with which the name tells the probe set, as an image-text model reads it"
        marks.append(Mark("F1 on the probe set", evidence.told, None, figure(evidence.told), note))
    said = f"{told.confidence:.2f}"
    marks.append(Mark("Confidence", told.confidence, None, said, "that the name is right, fitted"))
    return tuple(marks)


def _sealed_marks(score: CosyScore) -> list[Mark]:
    ceiling = "ceiling unknown" if score.ceiling is None else f"ceiling {figure(score.ceiling)}"
    sizes = f"{score.n_generated:,} drawn, {score.n_control:,} control"
    return [
        Mark(
            "AUROC, sealed",
            score.auroc,
            score.auroc_ci,
            f"{figure(score.auroc)} {interval(score.auroc_ci)}",
            f"{ceiling}; n = {sizes}",
            score.ceiling,
            0.5,
            "auroc",
        ),
        _rate("Fires on drawn", score.activation_rate, score.activation_rate_ci, n=score.n_generated),
        _rate("Fires on control", score.control_rate, score.control_rate_ci, n=score.n_control),
    ]


def _rate(label: str, rate: float, ci: Interval, *, n: int) -> Mark:
    kind = label.rpartition(" ")[2]
    return Mark(label, rate, ci, f"{share(rate)} {shares(ci)}", f"n = {n:,} {kind} images", kind=kind)


def _exemplars(evidence: Evidence | None, threshold: float) -> tuple[Shown, ...]:
    if evidence is None:
        return ()
    ordered = sorted(evidence.exemplars, key=lambda each: -each.activation)
    return tuple(Shown(each.image, each.activation, each.activation > threshold) for each in ordered)


def _sealed(evidence: Evidence | None, threshold: float) -> tuple[Shown, ...]:
    if evidence is None:
        return ()
    pairs = zip(evidence.sealed_images, evidence.sealed_activations, strict=True)
    ordered = sorted(pairs, key=lambda pair: -pair[1])
    return tuple(Shown(image, value, value > threshold) for image, value in ordered)


def _parts(told: Explanation) -> tuple[tuple[str, CosyScore | None], ...]:
    scores: Sequence[CosyScore | None] = told.evidence.part_scores if told.evidence else ()
    padded = (*scores, *(None for _ in told.parts[len(scores) :]))
    return tuple(zip(told.parts, padded[: len(told.parts)], strict=True))


def _rivals(told: Explanation) -> tuple[RivalRow, ...]:
    winner = next((each for each in told.rivals if each.name == told.name), None)
    alone = len(told.rivals) == 1
    return tuple(RivalRow(each, each is winner, _why(each, winner, alone=alone)) for each in told.rivals)


def _why(rival: Rival, winner: Rival | None, *, alone: bool) -> str:
    if rival is winner and alone:
        return "The only name that raced."
    if rival is winner:
        return "Won the race and went before the judge."
    if rival.auroc is None:
        return "No usable image was drawn for it."
    if winner is None or winner.auroc is None:
        return "Raced; another name was kept."
    gap = winner.auroc - rival.auroc
    if gap <= 0:
        return "Measured no worse; the predictions of the winner held on more of the shared images."
    return f"AUROC lower by {figure(gap)}{_overlap(rival.auroc_ci, winner.auroc_ci)}{_rates(rival, winner)}."


def _overlap(mine: Interval | None, best: Interval | None) -> str:
    if mine is None or best is None:
        return ""
    return "; the intervals are apart" if mine.high < best.low else "; the intervals overlap"


def _rates(rival: Rival, winner: Rival) -> str:
    if rival.rate is None or winner.rate is None or winner.rate - rival.rate < 0.1:
        return ""
    return f"; fires on {share(rival.rate)} of its images against {share(winner.rate)}"
