"""Names given to several features, and how far these features differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import combinations
from typing import NamedTuple, TypeVar

from agent.neighbours import share_firing
from agent.toolbox import unknown_cosine
from sae.feature import Frozen
from tools.protocols import ScoreImages

Holder = TypeVar("Holder", bound=Hashable)

MOST_PAIRS = 10
"""Pairs of one name that are looked at."""


def plain_name(text: str) -> str:
    """A name but for case and white space."""
    return " ".join(text.casefold().split())


def shared_names(named: Iterable[tuple[Holder, str]]) -> dict[str, tuple[Holder, ...]]:
    """The names that several hold, each with its holders in the order given."""
    held: defaultdict[str, list[Holder]] = defaultdict(list)
    for holder, name in named:
        held[plain_name(name)].append(holder)
    return {name: tuple(holders) for name, holders in held.items() if len(set(holders)) > 1}


class NamedFeature(NamedTuple):
    """A feature with its name and the pictures that gave it."""

    feature: int
    """Its index."""
    name: str
    images: tuple[str, ...]
    """The race images of the name's own prompts."""
    threshold: float
    """Activation above which the feature fires."""


class CollidingPair(Frozen):
    """Two features of one name."""

    first: int
    second: int
    cosine: float | None
    """Of their decoder directions, where known."""
    first_on_second: float | None
    """Share of the second's race images on which the first fires; None without images."""
    second_on_first: float | None


class Collision(Frozen):
    """A name that several features of one dictionary were given."""

    name: str
    features: tuple[int, ...]
    pairs: tuple[CollidingPair, ...]
    """Of the first of them."""


def collisions(
    named: Sequence[NamedFeature],
    *,
    score: ScoreImages,
    cosine: Callable[[int, int], float | None] = unknown_cosine,
) -> tuple[Collision, ...]:
    """Every name that several features hold, with what each does on the other's race images."""
    by_index = {each.feature: each for each in named}
    found = []
    for name, holders in shared_names((each.feature, each.name) for each in named).items():
        pairs = tuple(
            CollidingPair(
                first=first,
                second=second,
                cosine=cosine(first, second),
                first_on_second=_on(by_index[first], by_index[second].images, score),
                second_on_first=_on(by_index[second], by_index[first].images, score),
            )
            for first, second in list(combinations(sorted(holders), 2))[:MOST_PAIRS]
        )
        found.append(Collision(name=name, features=tuple(sorted(holders)), pairs=pairs))
    return tuple(sorted(found, key=lambda each: (-len(each.features), each.name)))


def _on(named: NamedFeature, images: Sequence[str], score: ScoreImages) -> float | None:
    if not images:
        return None
    return share_firing(score(images), named.feature, threshold=named.threshold)
