"""The order of a batch: first the features whose own images help most of those that come after."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from agent.lexicon import Lexicon
from agent.wishes import Prompt, Wish, is_searched, wishes_of
from tools.protocols import FeatureFacts, GeneratorCard


def naming_order(
    facts: Mapping[int, FeatureFacts], lexicon: Lexicon, *, card: GeneratorCard
) -> tuple[int, ...]:
    """All features, greedily by how far their likely prompts are what unnamed ones wish for too.

    What a named feature wished for has been drawn, so the others want it less. Ties are by index; features
    whose naming draws nothing come last. The same facts give the same order.
    """
    wished = {index: _by_prompt(each) for index, each in wishes_of(facts, lexicon, card).items()}
    searched = sorted(index for index, each in facts.items() if is_searched(each))
    demand: dict[Prompt, float] = {}
    for index in searched:
        for prompt, weight in wished[index].items():
            demand[prompt] = demand.get(prompt, 0.0) + weight
    heap = [(-_help(wished[index], demand), index) for index in searched]
    heapq.heapify(heap)
    order: list[int] = []
    while heap:
        promised, index = heapq.heappop(heap)
        now = _help(wished[index], demand)
        if now < -promised - 1e-12:
            heapq.heappush(heap, (-now, index))
            continue
        order.append(index)
        for prompt, weight in wished[index].items():
            demand[prompt] = max(0.0, demand[prompt] - weight) * (1.0 - min(1.0, weight))
    return (*order, *sorted(set(facts) - set(order)))


def _help(mine: Mapping[Prompt, float], demand: Mapping[Prompt, float]) -> float:
    return sum(weight * max(0.0, demand[prompt] - weight) for prompt, weight in mine.items())


def _by_prompt(wishes: tuple[Wish, ...]) -> dict[Prompt, float]:
    """How likely each prompt is to be drawn for a feature."""
    found: dict[Prompt, float] = {}
    for wish in wishes:
        for prompt in wish.prompts:
            found[prompt] = found.get(prompt, 0.0) + wish.weight / len(wish.prompts)
    return found
