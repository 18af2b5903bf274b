"""What naming some features will use, told beforehand: from what earlier runs used, else from defaults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from agent.budget import Limits
from agent.prices import Price
from agent.records import Explanation
from sae.feature import Frozen

MIN_RUNS = 3
"""Earlier runs below which the defaults are told instead."""
MAX_RUNS = 200
LOW, HIGH = 0.1, 0.9
"""Quantiles of the earlier runs."""

_DEFAULT_IMAGES = (0.2, 0.7, 1.0)
"""Share of the search images that is used."""
_DEFAULT_CALLS = (2.0, 6.0, 13.0)
"""Plans of an LLM in a run: one and a conclusion; a usual search; every round."""
_DEFAULT_PROMPT, _DEFAULT_COMPLETION = (1500.0, 2500.0, 6000.0), (150.0, 400.0, 2000.0)
"""Tokens of one call."""


class Range(Frozen):
    """Low, typical and high."""

    low: float
    typical: float
    high: float

    def times(self, factor: float) -> Range:
        """As much for so many."""
        return Range(low=self.low * factor, typical=self.typical * factor, high=self.high * factor)

    def within(self, most: float | None) -> Range:
        """No more than a limit allows; None is no limit."""
        if most is None:
            return self
        return Range(low=min(self.low, most), typical=min(self.typical, most), high=min(self.high, most))


class Estimate(Frozen):
    """What naming ``features`` features will use; None is unknown."""

    features: int
    stored: int = 0
    """Of them, those whose answer is stored already: they cost nothing and are not counted below."""
    proposer: str
    basis: str
    """What the figures come from, as half a sentence."""
    runs: int
    """Earlier runs they come from; 0 for defaults."""
    images: Range
    """Search and judge, drawn or found in the ledger."""
    survey: int = 0
    """Images that the survey of a batch may draw beside these, at most."""
    llm_calls: Range
    tokens: Range | None
    usd: Range | None
    seconds: Range | None


class Prospect(NamedTuple):
    """Who would be asked."""

    name: str
    paid: bool
    price: Price | None = None


def estimate(
    limits: Limits, prospect: Prospect, *, n_features: int, history: Sequence[Explanation] = ()
) -> Estimate:
    """What naming ``n_features`` with these limits, each, will use.

    ``history``: explanations of earlier runs by the same proposer; those that were stored answers, or that
    failed, say nothing of cost.
    """
    told = [each for each in history if not each.stored and each.verdict not in ("failed", "cancelled")]
    told = told[:MAX_RUNS]
    measured = len(told) >= MIN_RUNS
    each = _from_runs(told, prospect) if measured else _from_defaults(limits, prospect)
    per = _limited(each, limits, paid=prospect.paid)
    return Estimate(
        features=n_features,
        proposer=prospect.name,
        basis=f"{len(told)} earlier runs" if measured else "defaults, as there are too few earlier runs",
        runs=len(told) if measured else 0,
        images=per.images.times(n_features),
        llm_calls=per.calls.times(n_features),
        tokens=_times(per.tokens, n_features),
        usd=_times(per.usd, n_features),
        seconds=_times(per.seconds, n_features),
    )


class _PerFeature(NamedTuple):
    images: Range
    calls: Range
    tokens: Range | None
    usd: Range | None
    seconds: Range | None


def _from_runs(told: Sequence[Explanation], prospect: Prospect) -> _PerFeature:
    def of(figure: Callable[[Explanation], float | None]) -> Range | None:
        found = [value for each in told if (value := figure(each)) is not None]
        return _quantiles(found) if found else None

    def tokens(each: Explanation) -> float | None:
        cost = each.cost
        known = cost.prompt_tokens is not None and cost.completion_tokens is not None
        return (cost.prompt_tokens or 0) + (cost.completion_tokens or 0) if known else None

    def usd(each: Explanation) -> float | None:
        return _dollars(each.cost.prompt_tokens, each.cost.completion_tokens, prospect)

    nothing = Range(low=0, typical=0, high=0)
    return _PerFeature(
        images=of(lambda each: each.images.charged) or nothing,
        calls=of(lambda each: each.cost.llm_calls) or nothing,
        tokens=of(tokens),
        usd=of(usd),
        seconds=of(lambda each: each.cost.seconds),
    )


def _from_defaults(limits: Limits, prospect: Prospect) -> _PerFeature:
    images = _range([limits.sealed + limits.images * share for share in _DEFAULT_IMAGES])
    if not prospect.paid:
        nothing = Range(low=0, typical=0, high=0)
        return _PerFeature(images, nothing, nothing, nothing, None)
    # The last call is the one that concludes, when all rounds are used.
    calls = _range(_DEFAULT_CALLS).within(limits.rounds + 1)
    counts = (calls.low, calls.typical, calls.high)
    read = [count * each for count, each in zip(counts, _DEFAULT_PROMPT, strict=True)]
    written = [count * each for count, each in zip(counts, _DEFAULT_COMPLETION, strict=True)]
    pairs = list(zip(read, written, strict=True))
    costs = [_dollars(sent, got, prospect) for sent, got in pairs]
    known = [cost for cost in costs if cost is not None]
    usd = _range(known) if len(known) == len(costs) else None
    return _PerFeature(images, calls, _range([sent + got for sent, got in pairs]), usd, None)


def _limited(each: _PerFeature, limits: Limits, *, paid: bool) -> _PerFeature:
    images = each.images.within(limits.images + limits.sealed)
    if not paid:
        return each._replace(images=images)
    return each._replace(
        images=images,
        calls=each.calls.within(limits.llm_calls),
        tokens=each.tokens.within(limits.tokens) if each.tokens else None,
        usd=each.usd.within(limits.usd) if each.usd else None,
        seconds=each.seconds.within(limits.seconds) if each.seconds else None,
    )


def _dollars(prompt: float | None, completion: float | None, prospect: Prospect) -> float | None:
    if not prospect.paid:
        return 0.0
    if prospect.price is None or prompt is None or completion is None:
        return None
    return (prompt * prospect.price.prompt + completion * prospect.price.completion) / 1e6


def _times(each: Range | None, factor: float) -> Range | None:
    return None if each is None else each.times(factor)


def _range(figures: Sequence[float]) -> Range:
    low, typical, high = figures
    return Range(low=low, typical=typical, high=high)


def _quantiles(figures: Sequence[float]) -> Range:
    ordered = sorted(figures)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

    return Range(low=at(LOW), typical=at(0.5), high=at(HIGH))
