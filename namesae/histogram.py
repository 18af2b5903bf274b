"""The picture behind a CoSy score: activations on control, exemplars and drawn images, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

BINS = 28
WIDTH, HEIGHT = 860, 190
LEFT, RIGHT, BOTTOM, TOP = 120, 16, 22, 6


class Series(NamedTuple):
    """One set of activations."""

    label: str
    values: tuple[float, ...]


class Bar(NamedTuple):
    """A rectangle, in SVG units."""

    x: float
    y: float
    width: float
    height: float
    title: str


class Plot(NamedTuple):
    """What the page draws: a lane of bars for each series over one axis of activation."""

    width: int
    height: int
    lanes: tuple[tuple[str, int, tuple[Bar, ...], float], ...]
    """(label, n, bars, y of the baseline)."""
    ticks: tuple[tuple[float, str], ...]
    threshold: float | None
    """x of the firing threshold."""


def plot(series: Sequence[Series], *, threshold: float | None = None) -> Plot | None:
    """Shares per bin of equal width, each lane scaled to its own highest bin by its square root.

    None where there is nothing to show. The root keeps a few firing control images visible beside a
    thousand silent ones.
    """
    kept = [each for each in series if each.values]
    highest = max((value for each in kept for value in each.values if math.isfinite(value)), default=0.0)
    if not kept or highest <= 0:
        return None
    lane = (HEIGHT - BOTTOM - TOP) / len(kept)
    scale = (WIDTH - LEFT - RIGHT) / highest
    lanes = tuple(
        (
            each.label,
            len(each.values),
            _bars(each, highest, top=TOP + at * lane, lane=lane),
            TOP + (at + 1) * lane,
        )
        for at, each in enumerate(kept)
    )
    ticks = tuple((LEFT + scale * at, f"{at:g}") for at in _round_figures(highest))
    mark = None if threshold is None or threshold > highest else LEFT + scale * threshold
    return Plot(WIDTH, HEIGHT, lanes, ticks, mark)


def _round_figures(highest: float) -> list[float]:
    """Four to nine multiples of 1, 2 or 5 times a power of ten, from 0 up to ``highest``."""
    step = 10.0 ** math.floor(math.log10(highest))
    step = next(step * part for part in (0.1, 0.2, 0.5, 1.0, 2.0) if highest / (step * part) <= 8)
    return [round(step * at, 12) for at in range(int(highest / step + 1e-9) + 1)]


def _bars(series: Series, highest: float, *, top: float, lane: float) -> tuple[Bar, ...]:
    counts = [0] * BINS
    for value in series.values:
        if math.isfinite(value):
            counts[min(BINS - 1, int(max(0.0, value) / highest * BINS))] += 1
    step = (WIDTH - LEFT - RIGHT) / BINS
    tallest = math.sqrt(max(counts))
    bars = []
    for at, count in enumerate(counts):
        if count:
            height = (lane - 8) * math.sqrt(count) / tallest
            low, high = highest * at / BINS, highest * (at + 1) / BINS
            title = f"{count} of {len(series.values)} from {low:.3g} to {high:.3g}"
            bars.append(Bar(LEFT + at * step, top + lane - height, step - 1, height, title))
    return tuple(bars)
