"""One figure of two conditions, feature by feature, as a small square of inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from evals.plot_axes import Scale, dot, label_text, line, svg, text, x_axis, y_axis

SIZE, LEFT, TOP, BOTTOM, RIGHT = 300, 40, 50, 40, 12


class Pair(NamedTuple):
    """One feature as both saw it."""

    feature: str
    ours: float
    theirs: float


def paired_plot(pairs: Sequence[Pair], *, name: str, ours: str, theirs: str) -> Markup | None:
    """Ours upwards, theirs to the right: what lies above the diagonal is ours. None where nothing pairs."""
    if not pairs:
        return None
    low = min(0.5, *(min(pair.ours, pair.theirs) for pair in pairs))
    low = max(0.0, int(low * 10) / 10)
    x, y = Scale(low, 1.0, LEFT, SIZE - RIGHT), Scale(low, 1.0, SIZE - BOTTOM, TOP)
    above = sum(pair.ours > pair.theirs for pair in pairs)
    below = sum(pair.ours < pair.theirs for pair in pairs)
    told = f"ours higher on {above}, theirs on {below} of {len(pairs)} features"
    body = [
        x_axis(x, top=TOP, bottom=SIZE - BOTTOM, label="AUROC, theirs"),
        y_axis(y, left=LEFT, right=SIZE - RIGHT, label=""),
        text((2, 16), label_text(theirs), css="label rival"),
        text((2, 34), f"AUROC, ours. {_counts(above, below, len(pairs))}", css="axis"),
        line((x(low), y(low)), (x(1), y(1)), "reference"),
    ]
    body += [
        dot(
            (x(pair.theirs), y(pair.ours)),
            3.2,
            "point win" if pair.ours > pair.theirs else "point loss" if pair.ours < pair.theirs else "point",
            title=f"{pair.feature}: ours {pair.ours:.2f}, theirs {pair.theirs:.2f}",
        )
        for pair in pairs
    ]
    return svg((SIZE, SIZE), body, name=name, title=f"{ours} against {theirs}", told=told)


def _counts(above: int, below: int, n: int) -> str:
    return f"Above {above}, below {below}, n = {n}"
