"""How often the interval of a CoSy AUROC holds the true value: python -m benchmarks.interval_coverage.

Two worlds: unit normals a distance apart, and sparse features, where both are cut off below, so that a share
of the control images has exactly the activation 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tools.cosy import score_explanation

AREAS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
GENERATED = (30, 50)
CONTROL = 1000
ZEROS = (0.0, 0.5, 0.9, 0.97)
"""Shares of the control images with activation 0."""

Floats = npt.NDArray[np.float64]
_NORMAL = NormalDist()


class Setting(NamedTuple):
    """What is drawn."""

    area: float
    """True AUROC."""
    zeros: float
    generated: int


class Covered(NamedTuple):
    """What the intervals did."""

    share: float
    """Of the intervals, that hold the true AUROC."""
    width: float
    least_width: float


def settings() -> Iterator[Setting]:
    """All of them."""
    for zeros in ZEROS:
        for area in AREAS:
            for generated in GENERATED:
                yield Setting(area, zeros, generated)


def true_area(shift: float, cut: float) -> float:
    """AUROC of max(0, N(shift, 1) - cut) against max(0, N(0, 1) - cut)."""
    x = np.linspace(max(cut, shift - 9), max(cut, shift) + 9, 4001)
    density = np.exp(-((x - shift) ** 2) / 2) / np.sqrt(2 * np.pi)
    below = np.array([_NORMAL.cdf(each) for each in x])
    both_off = 0.5 * _NORMAL.cdf(cut - shift) * _NORMAL.cdf(cut)
    return float(np.trapezoid(density * below, x)) + both_off


def shift_of(area: float, cut: float) -> float:
    """How far apart the normals must lie, by bisection."""
    low, high = -1.0, 15.0
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if true_area(middle, cut) < area else (low, middle)
    return low


def measure(setting: Setting, *, rounds: int, seed: int) -> Covered:
    """Draw ``rounds`` times and count."""
    cut = _NORMAL.inv_cdf(setting.zeros) if setting.zeros else -9.0
    shift, rng = shift_of(setting.area, cut), np.random.default_rng(seed)
    low, high = np.empty(rounds), np.empty(rounds)
    for at in range(rounds):
        shown = np.maximum(0, rng.normal(shift, 1, setting.generated) - cut).astype(np.float32)
        rest = np.maximum(0, rng.normal(0, 1, CONTROL) - cut).astype(np.float32)
        interval = score_explanation(shown, rest, threshold=0.5).auroc_ci
        low[at], high[at] = interval.low, interval.high
    held = (low <= setting.area) & (setting.area <= high)
    return Covered(float(held.mean()), float((high - low).mean()), float((high - low).min()))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.stdout.write("zeros  n1  AUROC  covered  width  least width\n")
    for each in settings():
        covered = measure(each, rounds=given.rounds, seed=given.seed)
        sys.stdout.write(
            f"{each.zeros:5.2f}  {each.generated:2}  {each.area:5.2f}  {100 * covered.share:6.1f}%  "
            f"{covered.width:.3f}  {covered.least_width:.4f}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
