"""What asking an LLM used: calls, tokens, dollars, in all and by node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from agent.records import Cost, NodeCost
from sae.feature import Frozen

_N = TypeVar("_N", int, float)


class Usage(Frozen):
    """What asking the proposer used. Unknown is None, never 0; unknown plus anything stays unknown."""

    calls: int = 0
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    usd: float | None = 0.0
    cached_tokens: int | None = 0
    """Among the prompt tokens."""
    reasoning_tokens: int | None = 0
    """Among the completion tokens."""
    by_node: tuple[NodeCost, ...] = ()
    """The same by node, where ``at`` was told."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            prompt_tokens=plus(self.prompt_tokens, other.prompt_tokens),
            completion_tokens=plus(self.completion_tokens, other.completion_tokens),
            usd=plus(self.usd, other.usd),
            cached_tokens=plus(self.cached_tokens, other.cached_tokens),
            reasoning_tokens=plus(self.reasoning_tokens, other.reasoning_tokens),
            by_node=_by_node((*self.by_node, *other.by_node)),
        )

    def at(self, node: str, *, seconds: float) -> Usage:
        """The same, told to be of one node, whose calls took ``seconds``."""
        cost = NodeCost(
            node=node,
            calls=self.calls,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            usd=self.usd,
            seconds=round(seconds, 3),
        )
        return self.model_copy(update={"by_node": (cost,)})

    @property
    def tokens(self) -> int | None:
        """Prompt and completion tokens together."""
        return plus(self.prompt_tokens, self.completion_tokens)


def plus(first: _N | None, second: _N | None) -> _N | None:
    """The sum; unknown where either is."""
    return None if first is None or second is None else first + second


def total_cost(costs: Iterable[Cost]) -> Cost:
    """What several runs used together."""
    total = Cost(cached_tokens=0, reasoning_tokens=0)
    for cost in costs:
        total = Cost(
            llm_calls=total.llm_calls + cost.llm_calls,
            prompt_tokens=plus(total.prompt_tokens, cost.prompt_tokens),
            completion_tokens=plus(total.completion_tokens, cost.completion_tokens),
            usd=plus(total.usd, cost.usd),
            seconds=total.seconds + cost.seconds,
            cached_tokens=plus(total.cached_tokens, cost.cached_tokens),
            reasoning_tokens=plus(total.reasoning_tokens, cost.reasoning_tokens),
            by_node=_by_node((*total.by_node, *cost.by_node)),
        )
    return total


def _by_node(costs: Sequence[NodeCost]) -> tuple[NodeCost, ...]:
    merged: dict[str, NodeCost] = {}
    for cost in costs:
        held = merged.get(cost.node)
        merged[cost.node] = cost if held is None else _joined(held, cost)
    return tuple(merged.values())


def _joined(first: NodeCost, second: NodeCost) -> NodeCost:
    return NodeCost(
        node=first.node,
        calls=first.calls + second.calls,
        prompt_tokens=plus(first.prompt_tokens, second.prompt_tokens),
        completion_tokens=plus(first.completion_tokens, second.completion_tokens),
        usd=plus(first.usd, second.usd),
        seconds=round(first.seconds + second.seconds, 3),
    )
