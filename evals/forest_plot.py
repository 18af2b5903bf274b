"""Estimates with their intervals under one another, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from evals.contenders import Role
from evals.figure_text import finite, with_interval
from evals.plot_axes import Scale, diamond, dot, label_text, line, svg, text, x_axis
from evals.scoreboard import Figure

WIDTH, LEFT, RIGHT = 860, 236, 220
ROW, TOP, BOTTOM = 24, 26, 40


class Estimate(NamedTuple):
    """One line of the plot."""

    label: str
    figure: Figure
    role: Role
    note: str = ""


class Frame(NamedTuple):
    """What a plot is called and what its axis measures."""

    name: str
    """Unique on a page."""
    title: str
    axis: str
    low: float = 0.0
    high: float = 1.0
    reference: float | None = None
    """Where the line of no difference stands."""
    note: str = ""
    """Head of the notes."""


def forest_plot(estimates: Sequence[Estimate], frame: Frame) -> Markup | None:
    """None where there is nothing to show. Ours is a diamond, the others dots, controls hollow."""
    if not any(finite(each.figure.value) is not None for each in estimates):
        return None
    bottom = TOP + ROW * len(estimates)
    scale = Scale(frame.low, frame.high, LEFT, WIDTH - RIGHT)
    told = "; ".join(f"{each.label}: {with_interval(each.figure)} {each.note}".strip() for each in estimates)
    body = [x_axis(scale, top=TOP - 6, bottom=bottom, label=frame.axis)]
    body += [
        text((WIDTH - RIGHT + 14, TOP - 12), "Estimate [95 %]", css="axis"),
        text((WIDTH, TOP - 12), frame.note, css="axis", anchor="end"),
    ]
    if frame.reference is not None:
        at = scale(frame.reference)
        body.append(line((at, TOP - 6), (at, bottom), "reference"))
    for row, each in enumerate(estimates):
        body.append(_row(each, scale, y=TOP + ROW * (row + 0.5)))
    return svg((WIDTH, bottom + BOTTOM), body, name=frame.name, title=frame.title, told=told)


def _row(each: Estimate, scale: Scale, *, y: float) -> Markup:
    figure = each.figure
    said = with_interval(figure)
    parts = [text((LEFT - 12, y + 4), label_text(each.label), css=f"label {each.role}", anchor="end")]
    low, high, value = finite(figure.low), finite(figure.high), finite(figure.value)
    if value is not None:
        if low is not None and high is not None:
            parts.append(line((scale(low), y), (scale(high), y), f"whisker {each.role}"))
        mark = diamond if each.role == "ours" else dot
        title = f"{each.label}: {said}, n = {figure.n}"
        parts.append(
            mark((scale(value), y), 5.5 if each.role == "ours" else 4, f"mark {each.role}", title=title)
        )
    parts.append(text((WIDTH - RIGHT + 14, y + 4), said, css=f"figure {each.role}"))
    parts.append(text((WIDTH, y + 4), each.note, css="figure", anchor="end"))
    return Markup("").join(parts)


def span(figures: Sequence[Figure], *, around: float) -> tuple[float, float]:
    """Ends of an axis that holds every interval and a value, in tenths, at least one to each side."""
    ends = [finite(end) for each in figures for end in (each.value, each.low, each.high)]
    known = [end for end in ends if end is not None]
    low, high = min([around - 0.1, *known]), max([around + 0.1, *known])
    return math.floor(low * 10 + 1e-9) / 10, math.ceil(high * 10 - 1e-9) / 10


def bar(figure: Figure, *, width: float = 64, height: float = 10) -> Markup:
    """A figure between 0 and 1 with its interval, small enough to stand in a table; decoration only."""
    value, low, high = finite(figure.value), finite(figure.low), finite(figure.high)
    if value is None:
        return Markup("")
    scale = Scale(0.0, 1.0, 3, width - 3)
    middle = height / 2
    parts = [line((3, middle), (width - 3, middle), "grid")]
    if low is not None and high is not None:
        parts.append(line((scale(low), middle), (scale(high), middle), "whisker"))
    parts.append(dot((scale(value), middle), 3, "mark"))
    head = Markup(
        '<svg class="bar" aria-hidden="true" viewBox="0 0 {0:.0f} {1:.0f}" width="{0:.0f}" height="{1:.0f}">'
    )
    return head.format(width, height) + Markup("").join(parts) + Markup("</svg>")
