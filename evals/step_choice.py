"""Which steps of a long search a report keeps: the best and the last."""

from __future__ import annotations

from collections.abc import Sequence

from evals.answer import Step
from evals.figure_text import finite

BEST, LAST = 6, 4


def best_steps(steps: Sequence[Step], most: int) -> list[int]:
    """Places of the best scored steps, best first; ties by place, unscored ones last."""

    def order(at: int) -> tuple[bool, float, int]:
        score = finite(steps[at].score)
        return (score is None, -(score or 0.0), at)

    return sorted(range(len(steps)), key=order)[:most]


def kept_steps(steps: Sequence[Step], *, best: int = BEST, last: int = LAST) -> list[int]:
    """Places of the best and the last steps, in their order."""
    return sorted({*best_steps(steps, best), *range(max(0, len(steps) - last), len(steps))})
