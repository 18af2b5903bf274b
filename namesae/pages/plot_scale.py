"""From figures to places in a drawing."""

from __future__ import annotations

import math
from typing import NamedTuple


class Scale(NamedTuple):
    """A straight scale from figures to drawing units."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a figure lies, rounded to a tenth of a unit; an empty range lies at its start."""
        span = self.high - self.low
        way = (value - self.low) / span if span else 0.0
        return round(self.start + way * (self.end - self.start), 1)


def round_figures(highest: float, *, most: int = 8) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from 0 up to ``highest`` > 0, about ``most`` of them."""
    unit = 10.0 ** math.floor(math.log10(highest))
    step = next(unit * part for part in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if highest / (unit * part) <= most)
    return [round(step * at, 12) for at in range(int(highest / step + 1e-9) + 1)]
