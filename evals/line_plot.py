"""Curves over one pair of axes, as inline SVG that prints without colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from evals.figure_text import finite
from evals.plot_axes import Scale, dot, label_text, line, polyline, svg, text, x_axis, y_axis
from evals.scoreboard import Figure

WIDTH, HEIGHT = 400, 300
LEFT, TOP, BOTTOM, RIGHT = 40, 34, 40, 14
HIGHLIGHTED = 5
"""Curves of rivals with a colour and a dash of their own; the rest are grey."""


class Point(NamedTuple):
    """A point of a curve, with the interval of its height where there is one."""

    x: float
    y: Figure


class Curve(NamedTuple):
    """A curve; ``css`` is its style: 'ours', 'c1' to 'c5', 'rest' or 'control'."""

    label: str
    points: tuple[Point, ...]
    css: str
    told: str = ""
    """A figure for the legend."""


class Plane(NamedTuple):
    """What a plot is called, its axes and whether the diagonal means something."""

    name: str
    title: str
    x: str
    y: str
    log: bool = False
    diagonal: bool = False
    marks: bool = False
    """Whether each point is marked and has its interval."""
    legend: bool = True
    free: bool = False
    """Whether the axes end where the figures do, from 0; else they are of shares, 0 to 1."""


def line_plot(curves: Sequence[Curve], plane: Plane) -> Markup | None:
    """None where no curve has a point that can be shown."""
    curves = [each for each in (_finite(curve, log=plane.log) for curve in curves) if each.points]
    if not curves:
        return None
    x, y = _scales(curves, plane)
    body = [
        x_axis(x, top=TOP, bottom=HEIGHT - BOTTOM, label=plane.x),
        y_axis(y, left=LEFT, right=WIDTH - RIGHT, label=plane.y),
    ]
    if plane.diagonal:
        body.append(line((x(0), y(0)), (x(1), y(1)), "reference"))
    # Ours is drawn last, so that it lies on top.
    for curve in sorted(curves, key=lambda each: (each.css == "ours", each.css.startswith("c1"))):
        body.append(_curve(curve, x, y, marks=plane.marks))
    legend = _legend(curves) if plane.legend else []
    height = HEIGHT + (18 * len(legend) + 10 if legend else 0)
    told = "; ".join(f"{each.label}: {each.told or _ends(each)}" for each in curves)
    return svg((WIDTH, height), [*body, *legend], name=plane.name, title=plane.title, told=told)


def _finite(curve: Curve, *, log: bool) -> Curve:
    kept = tuple(
        point
        for point in curve.points
        if finite(point.x) is not None and finite(point.y.value) is not None and (point.x > 0 or not log)
    )
    return curve._replace(points=kept)


def _scales(curves: Sequence[Curve], plane: Plane) -> tuple[Scale, Scale]:
    if plane.free:
        return _free_scales(curves)
    y = Scale(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    if not plane.log:
        return Scale(0.0, 1.0, LEFT, WIDTH - RIGHT), y
    all_x = [point.x for curve in curves for point in curve.points]
    low, high = min(all_x), max(all_x)
    return Scale(low / 1.15, max(high, low * 2) * 1.15, LEFT, WIDTH - RIGHT, log=True), y


def _free_scales(curves: Sequence[Curve]) -> tuple[Scale, Scale]:
    points = [point for curve in curves for point in curve.points]
    right = max(1.0, *(point.x for point in points))
    top = max(1.0, *(point.y.value or 0.0 for point in points))
    return Scale(0.0, right, LEFT, WIDTH - RIGHT), Scale(0.0, top * 1.05, HEIGHT - BOTTOM, TOP)


def _curve(curve: Curve, x: Scale, y: Scale, *, marks: bool) -> Markup:
    places = [(x(point.x), y(point.y.value or 0.0)) for point in curve.points]
    parts = [polyline(places, f"curve {curve.css}", title=f"{curve.label} {curve.told}".strip())]
    if not marks and len(places) > 1:
        return Markup("").join(parts)
    for point, place in zip(curve.points, places, strict=True):
        low, high = finite(point.y.low), finite(point.y.high)
        if low is not None and high is not None and curve.css == "ours":
            parts.append(line((place[0], y(low)), (place[0], y(high)), f"whisker {curve.css}"))
        title = f"{curve.label}: {point.y.value:.2f} at {point.x:.4g}"
        parts.append(dot(place, 3, f"mark {curve.css}", title=title))
    return Markup("").join(parts)


def _legend(curves: Sequence[Curve]) -> list[Markup]:
    named = [each for each in curves if each.css not in ("rest", "control")]
    grey = [each for each in curves if each.css in ("rest", "control")]
    if len(grey) > 1:
        grey = [Curve(f"{len(grey)} others", (), "rest")]
    lines = []
    for at, each in enumerate([*named, *grey]):
        y = HEIGHT + 12 + 18 * at
        lines.append(
            polyline([(LEFT, y - 4), (LEFT + 28, y - 4)], f"curve {each.css}")
            + text((LEFT + 36, y), label_text(each.label), css=f"label {each.css}")
            + text((WIDTH - RIGHT, y), each.told, css="figure", anchor="end")
        )
    return lines


def _ends(curve: Curve) -> str:
    first, last = curve.points[0], curve.points[-1]
    return f"{first.y.value:.2f} at {first.x:.4g} to {last.y.value:.2f} at {last.x:.4g}"
