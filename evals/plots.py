"""The plots of a report, from the scoreboard and the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from evals.cell import Cell
from evals.contenders import EVERYTHING, Contender, rivals, role_of
from evals.figure_text import finite, number, p_text
from evals.forest_plot import Estimate, Frame, forest_plot, span
from evals.line_plot import HIGHLIGHTED, Curve, Plane, Point, line_plot
from evals.paired_plot import Pair, paired_plot
from evals.scoreboard import Figure, Scoreboard
from sae.feature import Feature

STRONGEST = 4
MEASURES = ("accuracy", "named", "auroc", "auprc", "correlation")
Features = Mapping[Feature, Mapping[str, Cell]]


class Plots(NamedTuple):
    """Every plot there is something to show in."""

    accuracy: Markup | None
    differences: tuple[Markup, ...]
    """Of the measures in their order, accuracy first."""
    paired: tuple[Markup, ...]
    coverage: tuple[Markup, ...]
    calibration: tuple[Markup, ...]
    costs: Markup | None
    batches: tuple[Markup, ...] = ()
    """Of each dictionary that was named as a batch."""


def plots(board: Scoreboard, features: Features, shown: Sequence[Contender]) -> Plots:
    """All of them; what has no figures is left out."""
    return Plots(
        accuracy_plot(shown),
        tuple(plot for measure in MEASURES if (plot := difference_plot(board, shown, measure)) is not None),
        paired_plots(features, shown),
        coverage_plots(board, shown),
        calibration_plots(board, shown),
        cost_plot(board, shown),
        batch_plots(board, shown),
    )


def accuracy_plot(shown: Sequence[Contender]) -> Markup | None:
    """Accuracy over all features, condition by condition."""
    estimates = [
        Estimate(each.title, each.row.accuracy, each.role, f"n = {each.row.accuracy.n}") for each in shown
    ]
    frame = Frame("forest-accuracy", "Accuracy by condition", "Accuracy")
    return forest_plot(estimates, frame)


def difference_plot(board: Scoreboard, shown: Sequence[Contender], measure: str) -> Markup | None:
    """Ours less each other in one measure over all features, in the order of the other plots."""
    order = {each.condition: at for at, each in enumerate(shown)}
    found = [each for each in board.differences if each.measure == measure and each.group == EVERYTHING]
    found.sort(key=lambda each: order.get(each.theirs, len(order)))
    titles = {row.condition: row.title for row in board.rows}
    estimates = [
        Estimate(
            titles.get(each.theirs, each.theirs),
            each.estimate,
            "control" if role_of(each.theirs, each.ours) == "control" else "rival",
            p_text(each.p_corrected),
        )
        for each in found
    ]
    low, high = span([each.estimate for each in found], around=0.0)
    title = f"Ours less theirs: {measure}"
    frame = Frame(
        f"forest-difference-{measure}", title, f"Difference in {measure}", low, high, 0.0, "p, Holm"
    )
    return forest_plot(estimates, frame)


def paired_plots(features: Features, shown: Sequence[Contender]) -> tuple[Markup, ...]:
    """AUROC per feature against each of the strongest rivals."""
    ours = next((each for each in shown if each.role == "ours"), None)
    if ours is None:
        return ()
    found = []
    for at, theirs in enumerate(rivals(shown)[:STRONGEST]):
        pairs = _pairs(features, ours.condition, theirs.condition)
        found.append(paired_plot(pairs, name=f"paired-{at}", ours=ours.title, theirs=theirs.title))
    return tuple(plot for plot in found if plot is not None)


def _pairs(features: Features, ours: str, theirs: str) -> list[Pair]:
    pairs = []
    for feature, cells in features.items():
        ours_auroc, theirs_auroc = _auroc(cells.get(ours)), _auroc(cells.get(theirs))
        if ours_auroc is not None and theirs_auroc is not None:
            pairs.append(Pair(str(feature), ours_auroc, theirs_auroc))
    return pairs


def _auroc(cell: Cell | None) -> float | None:
    if cell is None or cell.judged is None or cell.judged.cosy is None:
        return None
    return finite(cell.judged.cosy.auroc)


def styles(shown: Sequence[Contender]) -> dict[str, str]:
    """The style of every condition's curve, the same in all plots of a page."""
    ranks = {each.condition: at for at, each in enumerate(rivals(shown), start=1)}
    return {
        each.condition: each.role
        if each.role != "rival"
        else f"c{ranks[each.condition]}"
        if ranks[each.condition] <= HIGHLIGHTED
        else "rest"
        for each in shown
    }


def coverage_plots(board: Scoreboard, shown: Sequence[Contender]) -> tuple[Markup, ...]:
    """Precision over coverage, one plot for each way of ordering names."""
    style = styles(shown)
    found = []
    for by in dict.fromkeys(curve.by for curve in board.coverage):
        curves = [
            Curve(
                each.title,
                tuple(Point(point.coverage, Figure(value=point.precision)) for point in each.points),
                style.get(each.condition, "rest"),
                number(each.area),
            )
            for each in board.coverage
            if each.by == by
        ]
        name = "coverage-" + by.replace(" ", "-")
        title = f"Precision of the names kept, ordered by {by}"
        found.append(line_plot(curves, Plane(name, title, f"Coverage, by {by}", "Precision")))
    return tuple(plot for plot in found if plot is not None)


def calibration_plots(board: Scoreboard, shown: Sequence[Contender]) -> tuple[Markup, ...]:
    """Stated confidence against accuracy; all conditions that state one in one plot."""
    style = styles(shown)
    titles = {row.condition: row.title for row in board.rows}
    errors = {each.condition: f"ECE {number(each.names.value)}" for each in board.calibration_errors}
    curves = [
        Curve(
            titles.get(condition, condition),
            tuple(
                Point(each.confidence, each.accuracy)
                for each in board.calibration
                if each.condition == condition
            ),
            style.get(condition, "rest"),
            errors.get(condition, ""),
        )
        for condition in dict.fromkeys(each.condition for each in board.calibration)
    ]
    plane = Plane("calibration", "Calibration", "Stated confidence", "Accuracy", diagonal=True, marks=True)
    plot = line_plot(curves, plane)
    return () if plot is None else (plot,)


def cost_plot(board: Scoreboard, shown: Sequence[Contender]) -> Markup | None:
    """Accuracy against images, on a logarithmic axis."""
    style = styles(shown)
    curves = [
        Curve(
            each.title,
            tuple(Point(point.images, point.accuracy) for point in each.points),
            style.get(each.condition, "rest"),
        )
        for each in board.costs
    ]
    title = "Accuracy when every search is stopped at so many images"
    plane = Plane("costs", title, "Images charged a feature", "Accuracy", log=True, marks=True)
    return line_plot(curves, plane)


def batch_plots(board: Scoreboard, shown: Sequence[Contender]) -> tuple[Markup, ...]:
    """Images a feature against the features named before it, dictionary by dictionary."""
    style = styles(shown)
    found = []
    for at, dictionary in enumerate(dict.fromkeys(each.dictionary for each in board.batches)):
        curves = [
            Curve(
                each.title,
                tuple(Point(point.named_before, Figure(value=point.mean)) for point in each.points),
                style.get(each.condition, "rest"),
                number(each.points[-1].mean, 1),
            )
            for each in board.batches
            if each.dictionary == dictionary
        ]
        title = f"Search images spent so far for each named feature of {dictionary}, the survey included"
        plane = Plane(f"batch-{at}", title, "Features named before", "Images a named feature", free=True)
        found.append(line_plot(curves, plane))
    return tuple(plot for plot in found if plot is not None)
