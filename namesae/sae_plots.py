"""The plots of an evaluation of a dictionary, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from evals.forest_plot import Estimate, Frame, forest_plot
from evals.plot_axes import Scale, dot, line, svg, text, x_axis, y_axis
from evals.scoreboard import Figure
from namesae.sae_tables import WHAT
from sae.measures.density import DensityHistogram
from sae.measures.evaluating import Details
from sae.measures.findings import Evaluation
from sae.metrics import Doubles

WIDTH, HEIGHT = 460, 280
LEFT, TOP, BOTTOM, RIGHT = 52, 34, 44, 14
BINS = 30
CELL = 4
"""SVG units: features whose dots would lie closer are one dot."""


class Bar(NamedTuple):
    """A bin and how much of it is marked."""

    low: float
    high: float
    size: int
    marked: int = 0
    told: str = ""


class Axes(NamedTuple):
    """What a plot is called and what its axes are of."""

    name: str
    title: str
    x: str
    y: str


class Captioned(NamedTuple):
    """A plot and the words under it."""

    plot: Markup
    caption: str


class Plots(NamedTuple):
    """Every plot there is something to show in."""

    density: Markup | None
    scatter: Markup | None
    l0: Markup | None
    fvu: Markup | None
    substitutions: tuple[Captioned, ...]


def plots(evaluation: Evaluation, details: Details) -> Plots:
    """All of them."""
    return Plots(
        density_plot(evaluation.findings[0].activity.density),
        scatter_plot(details),
        values_plot(
            details.l0, Axes("l0", "Active features of an image", "L0, mean over its tokens", "Images")
        ),
        values_plot(
            details.fvu,
            Axes("fvu", "FVU of an image", "its error over its distance from the mean activation", "Images"),
        ),
        substitution_plots(evaluation),
    )


def density_plot(histogram: DensityHistogram) -> Markup | None:
    """Features by log10 density, the ultra-low cluster marked. None where all are dead."""
    bars = [
        Bar(
            each.low,
            each.high,
            each.features,
            each.ultra_low,
            f"{each.features} features from 10^{each.low:g} to 10^{each.high:g}",
        )
        for each in histogram.bins
    ]
    axes = Axes(
        "density",
        "How often features are active",
        f"log10 of the share of {histogram.rows:,} tokens",
        f"Features ({histogram.dead:,} of {histogram.features:,} dead)",
    )
    boundary = None if histogram.cluster is None else histogram.cluster.boundary
    return bar_plot(bars, axes, mark=boundary)


def values_plot(values: Doubles, axes: Axes) -> Markup | None:
    """A histogram of (n,) values; the highest hundredth lies in the last bin. None where there is nothing."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = float(known.min()), float(np.percentile(known, 99))
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(np.clip(known, low, high), bins=BINS, range=(low, high))
    bars = [
        Bar(float(a), float(b), int(count), told=f"{count} from {a:.3g} to {b:.3g}")
        for a, b, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    return bar_plot(bars, axes)


def bar_plot(bars: Sequence[Bar], axes: Axes, *, mark: float | None = None) -> Markup | None:
    """Bars next to each other; ``mark``: where a dashed line stands."""
    tallest = max((bar.size for bar in bars), default=0)
    if not tallest:
        return None
    x = Scale(bars[0].low, bars[-1].high, LEFT, WIDTH - RIGHT)
    y = Scale(0.0, float(tallest), HEIGHT - BOTTOM, TOP)
    body = [
        x_axis(x, top=TOP, bottom=HEIGHT - BOTTOM, label=axes.x),
        y_axis(y, left=LEFT, right=WIDTH - RIGHT, label=axes.y),
    ]
    for bar in bars:
        plain = bar.size - bar.marked
        body += [_rect(x, y, bar, span=(0, plain), css="bin")] if plain else []
        body += [_rect(x, y, bar, span=(plain, bar.size), css="bin marked")] if bar.marked else []
    if mark is not None:
        body += [
            line((x(mark), TOP), (x(mark), HEIGHT - BOTTOM), "reference"),
            text((x(mark) - 4, TOP + 10), "ultra-low", css="axis", anchor="end"),
        ]
    told = "; ".join(bar.told for bar in bars if bar.size and bar.told)
    return svg((WIDTH, HEIGHT), body, name=f"plot-{axes.name}", title=axes.title, told=told)


def scatter_plot(details: Details) -> Markup | None:
    """Frequency to the right, mean activation upwards, by logarithm; features that overlap are one dot."""
    live = (details.density > 0) & (details.mean > 0)
    if not live.any():
        return None
    density, mean = details.density[live], details.mean[live]
    x = Scale(_down(density.min()), 1.0, LEFT, WIDTH - RIGHT, log=True)
    y = Scale(_down(mean.min()), _up(mean.max()), HEIGHT - BOTTOM, TOP, log=True)
    cells: dict[tuple[int, int], list[int]] = {}
    for feature, across, up in zip(np.flatnonzero(live), density, mean, strict=True):
        place = (round(x(float(across)) / CELL), round(y(float(up)) / CELL))
        cells.setdefault(place, []).append(int(feature))
    body = [
        x_axis(x, top=TOP, bottom=HEIGHT - BOTTOM, label="share of the tokens on which it is active"),
        y_axis(y, left=LEFT, right=WIDTH - RIGHT, label="Mean activation where it is"),
    ]
    body += [
        dot(
            (column * CELL, row * CELL),
            min(1.6 + 0.5 * math.sqrt(len(held)), 4),
            "point",
            title=_called(held),
        )
        for (column, row), held in sorted(cells.items())
    ]
    told = f"{int(live.sum())} live features in {len(cells)} places"
    return svg((WIDTH, HEIGHT), body, name="plot-scatter", title="Frequency and strength", told=told)


def substitution_plots(evaluation: Evaluation) -> tuple[Captioned, ...]:
    """Top-1 accuracy under every patch, one plot for each set of tokens and way of telling classes."""
    found = []
    for at, each in enumerate(evaluation.substitutions):
        estimates = [
            Estimate(
                WHAT[row.what],
                Figure(value=row.top1.value, low=row.top1.low, high=row.top1.high, n=row.top1.n),
                "ours" if row.what == "dictionary" else "control" if row.what in CONTROLS else "rival",
                "" if row.recovered.value is None else f"{row.recovered.value:.3f}",
            )
            for row in each.rows
        ]
        told = "class texts" if each.templates else "the model's own classes"
        title = f"Top-1 accuracy by {told}, tokens replaced: {each.tokens}"
        frame = Frame(f"plot-substitution-{at}", title, "Top-1 accuracy", note="Recovered")
        plot = forest_plot(estimates, frame)
        found += [] if plot is None else [Captioned(plot, title)]
    return tuple(found)


CONTROLS = ("untrained", "mean", "zero")


def _rect(x: Scale, y: Scale, bar: Bar, *, span: tuple[int, int], css: str) -> Markup:
    left, right, low, high = x(bar.low), x(bar.high), y(span[0]), y(span[1])
    return Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
    ).format(css, left + 0.5, high, max(right - left - 1, 0.5), max(low - high, 0.5), bar.told)


def _called(features: Sequence[int]) -> str:
    shown = ", ".join(map(str, features[:6]))
    return f"feature{'s' if len(features) > 1 else ''} {shown}{', ...' if len(features) > 6 else ''}"


def _down(value: float) -> float:
    return float(10.0 ** math.floor(math.log10(value) - 1e-9))


def _up(value: float) -> float:
    return float(10.0 ** math.ceil(math.log10(value) + 1e-9))
