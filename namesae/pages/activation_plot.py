"""The picture behind a CoSy score: activations on control, exemplars and drawn images on one axis, log y."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from namesae.pages.plot_scale import Scale, round_figures

BINS = 32
WIDTH, NARROW, HEIGHT = 1080, 400, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 36


class Sample(NamedTuple):
    """Activations of one kind of image."""

    kind: str
    """control, exemplars or sealed."""
    label: str
    values: Sequence[float]


class Outline(NamedTuple):
    """A histogram as an outline, with what each bin says."""

    kind: str
    label: str
    n: int
    path: str
    """Closed down to the axis."""
    counts: tuple[int, ...]
    """By bin."""


class ActivationPlot(NamedTuple):
    """What the page draws."""

    width: int
    height: int
    top: int
    base: int
    """y of the axis."""
    outlines: tuple[Outline, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    bins: tuple[tuple[float, float, str], ...]
    """(x, width, what each kind does there)."""
    threshold: float | None
    """x; None where it lies beyond the axis."""


def activation_plot(
    samples: Sequence[Sample], *, threshold: float | None, width: int = WIDTH
) -> ActivationPlot | None:
    """Shares of images by activation on a logarithmic axis; None where no image has any activation.

    The axis begins below the share of one image in the largest sample, so a single control image that fires
    is as plain to see as a thousand that rest.
    """
    kept = [each for each in samples if any(math.isfinite(value) for value in each.values)]
    highest = max((value for each in kept for value in each.values if math.isfinite(value)), default=0.0)
    if highest <= 0:
        return None
    least = -math.ceil(math.log10(max(len(each.values) for each in kept)) + 0.05)
    across = Scale(0.0, highest, LEFT, width - RIGHT)
    up = Scale(float(least), 0.0, HEIGHT - BOTTOM, TOP)
    outlines = tuple(_outline(each, highest, across=across, up=up) for each in kept)
    mark = None if threshold is None or not 0 < threshold <= highest else across.at(threshold)
    return ActivationPlot(
        width=width,
        height=HEIGHT,
        top=TOP,
        base=HEIGHT - BOTTOM,
        outlines=outlines,
        x_ticks=tuple(
            (across.at(each), f"{each:g}") for each in round_figures(highest, most=8 if width > NARROW else 5)
        ),
        y_ticks=tuple((up.at(power), _share(power)) for power in range(least, 1)),
        bins=_bins(outlines, highest, across=across),
        threshold=mark,
    )


def _outline(sample: Sample, highest: float, *, across: Scale, up: Scale) -> Outline:
    counts = [0] * BINS
    finite = [value for value in sample.values if math.isfinite(value)]
    for value in finite:
        counts[min(BINS - 1, int(max(0.0, value) / highest * BINS))] += 1
    base, n = up.start, len(finite)
    path = [f"M{across.at(0):g} {base:g}"]
    for at, number in enumerate(counts):
        y = base if not number else up.at(math.log10(number / n))
        path.append(f"V{y:g}H{across.at(highest * (at + 1) / BINS):g}")
    return Outline(sample.kind, sample.label, n, "".join([*path, f"V{base:g}Z"]), tuple(counts))


def _bins(
    outlines: Sequence[Outline], highest: float, *, across: Scale
) -> tuple[tuple[float, float, str], ...]:
    made = []
    for at in range(BINS):
        low, high = highest * at / BINS, highest * (at + 1) / BINS
        held = [f"{each.label}: {each.counts[at]} of {each.n}" for each in outlines if each.counts[at]]
        if held:
            said = f"{low:.3g} to {high:.3g}; {'; '.join(held)}"
            made.append((across.at(low), round(across.at(high) - across.at(low), 1), said))
    return tuple(made)


def _share(power: int) -> str:
    return {0: "100 %", -1: "10 %", -2: "1 %", -3: "0.1 %", -4: "0.01 %"}.get(power, f"1e{power + 2} %")
