"""What each verdict means in one sentence, and how many features have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, get_args

from agent.records import VerdictKind

VERDICTS: tuple[VerdictKind, ...] = get_args(VerdictKind)
MEANINGS: Mapping[VerdictKind, str] = {
    "named": "One name passed the sealed test.",
    "polysemantic": "Two or more concepts fire it, each verified by itself.",
    "weak": "The best name found; its sealed score lies below the bar.",
    "unexplained": "No name was better than names chosen at random.",
    "dead": "It is never active on the probe set.",
    "dense": "It is active nearly everywhere, so a name would say nothing.",
    "unrenderable": "The generator cannot draw what its exemplars show.",
    "failed": "The run failed; it can be repeated.",
    "cancelled": "The run was stopped.",
}


class Slice(NamedTuple):
    """A part of a verdict bar that is 100 wide."""

    verdict: str
    """A verdict, or 'unnamed' for features nobody has tried."""
    number: int
    share: float
    x: float
    width: float


def slices(counts: Iterable[tuple[str, int]], total: int) -> tuple[Slice, ...]:
    """The bar of a dictionary of ``total`` features: its verdicts in their fixed order, then the untried."""
    held = dict(counts)
    ordered: list[tuple[str, int]] = [(verdict, held[verdict]) for verdict in VERDICTS if held.get(verdict)]
    untried = total - sum(number for _, number in ordered)
    if untried > 0:
        ordered.append(("unnamed", untried))
    made, x = [], 0.0
    for verdict, number in ordered:
        width = 100 * number / total
        made.append(Slice(verdict, number, number / total, round(x, 3), round(width, 3)))
        x += width
    return tuple(made)
