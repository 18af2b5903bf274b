"""How far a run is, in one line that is kept up while it works: lists of runs read nothing else."""

from __future__ import annotations

from collections.abc import Callable

from agent.budget import Spent
from agent.events import Event
from agent.records import Explanation, VerdictKind
from agent.usage import plus
from sae.feature import Frozen


class RunBrief(Frozen):
    """A run, finished or not."""

    node: str | None = None
    """The last that said something."""
    round: int = 0
    search: int = 0
    """Images charged to the search so far."""
    usd: float | None = 0.0
    """Spent so far; None where the price is unknown."""
    tokens: int | None = 0
    name: str | None = None
    verdict: VerdictKind | None = None
    """None while the run is unfinished."""
    confidence: float | None = None

    @classmethod
    def of(cls, told: Explanation) -> RunBrief:
        """Of a finished run."""
        cost = told.cost
        return cls(
            node="record",
            search=told.images.search,
            usd=cost.usd,
            tokens=plus(cost.prompt_tokens, cost.completion_tokens),
            name=told.name,
            verdict=told.verdict,
            confidence=told.confidence,
        )


class Briefing:
    """Keeps the line of one run up to date; an EventSink."""

    def __init__(self, spent: Spent, *, keep: Callable[[RunBrief], None]) -> None:
        """``spent``: what the run had used when it was last interrupted."""
        usage = spent.usage
        self._keep = keep
        self._brief = RunBrief(round=spent.rounds, search=spent.search, usd=usage.usd, tokens=usage.tokens)

    def __call__(self, event: Event) -> None:
        """Count what an event tells."""
        what, brief = event.what, self._brief
        changed: dict[str, object] = {"node": event.node, "round": max(brief.round, event.round)}
        if what.kind == "streamed":
            return
        if what.kind in ("scored", "raced"):
            changed["search"] = what.search
        elif what.kind == "asked":
            usage = what.call.usage
            changed |= {"usd": plus(brief.usd, usage.usd), "tokens": plus(brief.tokens, usage.tokens)}
        self._brief = brief.model_copy(update=changed)
        self._keep(self._brief)
