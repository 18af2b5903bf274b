"""What is planted: concepts of every kind, in words that the world's grammar reads, in the order in which
they are tried.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sandbox.truth import Kind, words
from sandbox.world.concepts import VALUES, Concept
from sandbox.world.vocabulary import FAMILIES, Value

_SINGLE: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("mono", ("colour", "texture", "background")),
    ("hierarchy", ("object", "family")),
)
NEGATED = ("family", "background", "texture", "colour", "count")
"""Attributes whose values are negated: 'not big' would be 'small', and almost nothing is no 'not fish'."""


class Wish(NamedTuple):
    """A concept to be planted."""

    kind: Kind
    concept: str
    values: tuple[Value, ...]


def wishes(seed: int) -> tuple[Wish, ...]:
    """Every single value once, negations, and pairs of values; no pair is tried for two kinds."""
    rng = random.Random(f"planted concepts/{seed}")
    single = [Wish(kind, v.value, (v,)) for kind, names in _SINGLE for v in VALUES if v.attribute in names]
    negated = [Wish("not", f"not {v.value}", (v,)) for v in VALUES if v.attribute in NEGATED]
    pairs = rng.sample(list(itertools.combinations(VALUES, 2)), len(VALUES) * (len(VALUES) - 1) // 2)
    either = [Wish("or", f"{a.value} or {b.value}", (a, b)) for a, b in pairs if _alternatives(a, b)]
    both = [(words(Concept(frozenset(pair))), pair) for pair in pairs if _compatible(*pair)]
    conjunctions = [Wish("and", said, pair) for said, pair in both[0::2]]
    twins = [Wish("duplicate", said, pair) for said, pair in both[1::2]]
    return (*single, *negated, *either, *conjunctions, *twins)


def undrawable_wishes(values: Sequence[Value], seed: int) -> tuple[Wish, ...]:
    """Some values, then their pairs, an OR and an AND of each that can be both, in mixed order."""
    pairs = list(itertools.combinations(values, 2))
    both = [(words(Concept(frozenset(pair))), pair) for pair in pairs if _compatible(*pair)]
    either = [(f"{a.value} or {b.value}", (a, b)) for a, b in pairs if _alternatives(a, b)]
    joined = [Wish("undrawable", said, pair) for said, pair in (*both, *either)]
    random.Random(f"undrawable concepts/{seed}").shuffle(joined)
    return (*(Wish("undrawable", value.value, (value,)) for value in values), *joined)


class Variety:
    """Counts the values of pairs, so that none is in too many."""

    def __init__(self, most: int) -> None:
        self._most, self._seen = most, Counter[Value]()

    def allows(self, wish: Wish) -> bool:
        """Whether it is a single value, or a pair of which neither value is in too many."""
        return len(wish.values) == 1 or all(self._seen[value] < self._most for value in wish.values)

    def add(self, wish: Wish) -> None:
        """Count a pair."""
        if len(wish.values) > 1:
            self._seen.update(wish.values)


def _alternatives(a: Value, b: Value) -> bool:
    """Whether 'a or b' is no simpler concept: not everything, a negation, or the wider of the two."""
    if a.attribute == b.attribute:
        return a.attribute not in ("size", "count")
    return not (_within(a, b) or _within(b, a))


def _compatible(a: Value, b: Value) -> bool:
    """Whether both can hold and neither says the other."""
    return a.attribute != b.attribute and {a.attribute, b.attribute} != {"object", "family"}


def _within(member: Value, family: Value) -> bool:
    return family.attribute == "family" and member.value in FAMILIES[family.value]
