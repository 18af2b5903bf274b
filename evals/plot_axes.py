"""What every plot of a report is drawn with: scales, ticks, marks and the SVG around them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from evals.figure_text import MINUS, one_line, shortened

LONGEST_LABEL = 34


class Scale(NamedTuple):
    """Figures to SVG units, linear or by logarithm; what lies beyond its ends is drawn at them."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        share = (self._on(value) - self._on(self.low)) / (self._on(self.high) - self._on(self.low))
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def _on(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.log else value

    def ticks(self) -> list[float]:
        """Three to nine round figures between its ends."""
        return _log_ticks(self.low, self.high) if self.log else _even_ticks(self.low, self.high)


def _even_ticks(low: float, high: float) -> list[float]:
    size = 10.0 ** math.floor(math.log10(high - low))
    step = next(
        size * part for part in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0) if (high - low) / (size * part) <= 6.001
    )
    first = math.ceil(low / step - 1e-9)
    return [round(step * at, 10) for at in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    parts = (1,) if high / low > 1_000 else (1, 3) if high / low > 10 else (1, 2, 5)
    found = [part * 10.0**power for power in powers for part in parts]
    return [tick for tick in found if low * 0.999 <= tick <= high * 1.001]


def tick_text(value: float) -> str:
    said = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
    return said.replace("-", MINUS)


def label_text(text: str) -> str:
    """A label that fits beside a plot."""
    return shortened(text, LONGEST_LABEL)


def line(start: tuple[float, float], end: tuple[float, float], css: str) -> Markup:
    """A straight line."""
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        css, *start, *end
    )


def text(at: tuple[float, float], said: str, *, css: str = "", anchor: str = "start") -> Markup:
    """A text; escaped."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        css, *at, anchor, said
    )


def dot(at: tuple[float, float], radius: float, css: str, *, title: str = "") -> Markup:
    """A round mark that says what it is when pointed at."""
    told = Markup("<title>{}</title>").format(title) if title else Markup("")
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}">{}</circle>').format(
        css, *at, radius, told
    )


def diamond(at: tuple[float, float], radius: float, css: str, *, title: str = "") -> Markup:
    """A square on its tip: a mark that differs from a dot in print too."""
    x, y = at
    points = (
        f"{x:.1f},{y - radius:.1f} {x + radius:.1f},{y:.1f} {x:.1f},{y + radius:.1f} {x - radius:.1f},{y:.1f}"
    )
    told = Markup("<title>{}</title>").format(title) if title else Markup("")
    return Markup('<polygon class="{}" points="{}">{}</polygon>').format(css, points, told)


def polyline(points: Sequence[tuple[float, float]], css: str, *, title: str = "") -> Markup:
    """A line through points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    told = Markup("<title>{}</title>").format(title) if title else Markup("")
    return Markup('<polyline class="{}" points="{}">{}</polyline>').format(css, path, told)


def x_axis(scale: Scale, *, top: float, bottom: float, label: str) -> Markup:
    """Grid lines, figures under them, and what they are figures of."""
    parts = []
    for tick in scale.ticks():
        at = scale(tick)
        parts += [
            line((at, top), (at, bottom), "grid"),
            text((at, bottom + 15), tick_text(tick), anchor="middle"),
        ]
    middle = (scale.start + scale.end) / 2
    return Markup("").join([*parts, text((middle, bottom + 31), label, css="axis", anchor="middle")])


def y_axis(scale: Scale, *, left: float, right: float, label: str) -> Markup:
    """The same to the left; the label lies above the axis, where it reads without turning the head."""
    parts = []
    for tick in scale.ticks():
        at = scale(tick)
        parts += [
            line((left, at), (right, at), "grid"),
            text((left - 6, at + 4), tick_text(tick), anchor="end"),
        ]
    return Markup("").join([*parts, text((2, scale.end - 10), label, css="axis")])


def svg(size: tuple[float, float], body: Iterable[Markup], *, name: str, title: str, told: str) -> Markup:
    """The plot as an image with a title and, in words, what it shows."""
    width, height = size
    head = Markup(
        '<svg class="plot" role="img" viewBox="0 0 {0:.0f} {1:.0f}" width="{0:.0f}" height="{1:.0f}" '
        'aria-labelledby="{2}-t {2}-d"><title id="{2}-t">{3}</title><desc id="{2}-d">{4}</desc>'
    ).format(width, height, name, one_line(title), one_line(told))
    return head + Markup("").join(body) + Markup("</svg>")
