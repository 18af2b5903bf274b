"""Seeds by purpose: search, race, judge and evaluation never share one. Importing this imports no torch."""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple

Purpose = Literal["search", "race", "judge", "evals"]


class SeedRange(NamedTuple):
    """Half-open range of seeds."""

    low: int
    high: int


RANGES: dict[Purpose, SeedRange] = {
    "search": SeedRange(0, 2**30),
    "race": SeedRange(2**30, 2**31),
    "judge": SeedRange(2**32, 2**48),
    "evals": SeedRange(2**48, 2**62),
}


def seed_of(run_seed: int, purpose: Purpose, *, index: int) -> int:
    """The ``index``-th common seed of a purpose: a hash of the three, inside the purpose's range.

    All prompts of a run share these seeds (common random numbers), and so do all runs of one run seed.
    """
    low, high = RANGES[purpose]
    told = hashlib.sha256(f"namesae {run_seed} {purpose} {index}".encode()).digest()
    return low + int.from_bytes(told[:8], "big") % (high - low)


RETEST_STRIDE = 2**20
"""Indices between the sealed seeds of one retest and those of the next; more than a judge ever draws."""


def sealed_seeds(run_seed: int, *, count: int, retest: int = 0) -> tuple[int, ...]:
    """The judge's seeds; each retest (1, 2, ...) has its own, which no other and not the first judge has."""
    return seeds_of(run_seed, "judge", start=retest * RETEST_STRIDE, count=count)


def seeds_of(run_seed: int, purpose: Purpose, *, start: int, count: int) -> tuple[int, ...]:
    """``count`` common seeds of a purpose, from index ``start``."""
    return tuple(seed_of(run_seed, purpose, index=index) for index in range(start, start + count))
