"""Which features are planted: those that tell their concept, and that no other concept tells better."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sandbox.planted_concepts import Variety, Wish, undrawable_wishes, wishes
from sandbox.planted_directions import (
    Direction,
    cosine,
    firing_on,
    fitted,
    random_directions,
    silent,
    unexplained,
)
from sandbox.rivals import best_rival
from sandbox.truth import COHERENT, Floats, Kind, f1_at, name_f1
from sandbox.world.concepts import Bools, truth
from sandbox.world.vocabulary import Value
from tools.errors import UsageError

PER_KIND = 24


class Quota(NamedTuple):
    """How many concepts of a kind are planted; a duplicate's is two features."""

    kind: Kind
    least: int
    most: int


QUOTAS: tuple[Quota, ...] = (
    Quota("mono", least=PER_KIND, most=PER_KIND),
    Quota("hierarchy", least=PER_KIND, most=25),
    Quota("not", least=PER_KIND, most=32),
    Quota("or", least=PER_KIND, most=PER_KIND),
    Quota("and", least=PER_KIND, most=PER_KIND),
    Quota("duplicate", least=PER_KIND // 2, most=PER_KIND // 2),
)
UNDRAWABLE: tuple[Quota, ...] = (Quota("undrawable", least=PER_KIND, most=32),)
TELLS = 0.8
"""F1 below which a feature does not tell its concept."""
MARGIN = 0.01
"""By how much another concept may have the higher F1."""
MOST, MOST_UNDRAWABLE = 4, 7
"""Pairs that one value may be in; there are only a few values that cannot be drawn."""
ALIKE = 0.95
"""Least cosine of duplicates."""
OFTEN, ALWAYS = 0.95, 0.97
"""Share of the images below which a feature is no dense one, and from which it is."""
VALIDATION = 5
"""One training scene in so many is not fitted on."""


class Embedded(NamedTuple):
    """Pictures as the backbone sees them, and their labels."""

    u: Floats
    """(n, d) normalised embeddings."""
    labels: Bools
    """(n, len(VALUES))."""

    def rows(self, chosen: slice) -> Embedded:
        """Some of them."""
        return Embedded(self.u[chosen], self.labels[chosen])


class Chosen(NamedTuple):
    """One feature to be planted."""

    kind: Kind
    concept: str
    """'' where no words say what it tells."""
    direction: Direction


class Choice(NamedTuple):
    """All features, in the order of their indices, and how many others were tried."""

    features: tuple[Chosen, ...]
    rejected: Counter[Kind]


class _Attempt(NamedTuple):
    wish: Wish
    directions: tuple[Direction, ...]


class _Asked(NamedTuple):
    """What is to be planted, in the order in which it is tried."""

    wishes: Sequence[Wish]
    quotas: Sequence[Quota]
    most: int
    """Pairs that one value may be in."""


def choose(train: Embedded, held: Embedded, *, seed: int) -> Choice:
    """Fit on training scenes, check on held-out ones. UsageError when too few of a kind pass."""
    rejected: Counter[Kind] = Counter()
    asked = _Asked(wishes(seed), QUOTAS, MOST)
    features = list(_telling(train, held, asked=asked, rejected=rejected))
    features += _wordless(train, held, rng=np.random.default_rng(seed), rejected=rejected)
    return _shuffled(features, rejected, seed=seed)


def choose_undrawable(train: Embedded, held: Embedded, *, values: Sequence[Value], seed: int) -> Choice:
    """The same of single values and of pairs of them alone, which a generator does not show."""
    rejected: Counter[Kind] = Counter()
    asked = _Asked(undrawable_wishes(values, seed), UNDRAWABLE, MOST_UNDRAWABLE)
    return _shuffled(list(_telling(train, held, asked=asked, rejected=rejected)), rejected, seed=seed)


def _shuffled(features: list[Chosen], rejected: Counter[Kind], *, seed: int) -> Choice:
    random.Random(f"planted order/{seed}").shuffle(features)
    return Choice(tuple(features), rejected)


def _telling(train: Embedded, held: Embedded, *, asked: _Asked, rejected: Counter[Kind]) -> Iterator[Chosen]:
    """Features with a concept, kind after kind."""
    variety = Variety(asked.most)
    for kind, least, most in asked.quotas:
        passed = 0
        for wish in asked.wishes:
            if wish.kind != kind or passed == most or not variety.allows(wish):
                continue
            attempt = _attempt(wish, train)
            if attempt is None or not all(_is_best(each, wish.concept, held) for each in attempt.directions):
                rejected[kind] += 1
                continue
            variety.add(wish)
            passed += 1
            yield from (Chosen(kind, wish.concept, direction) for direction in attempt.directions)
        _require(passed, least, kind=kind)


def _attempt(wish: Wish, train: Embedded) -> _Attempt | None:
    """Probes for a wish, a duplicate's on one half of the scenes each; None where they do not tell it on the
    validation scenes.
    """
    end = len(train.u) - len(train.u) // VALIDATION
    check = train.rows(slice(end, None))
    halves = (slice(0, end, 2), slice(1, end, 2)) if wish.kind == "duplicate" else (slice(0, end),)
    probes = [fitted(part.u, truth(wish.concept, part.labels)) for part in map(train.rows, halves)]
    directions = tuple(probe for probe in probes if probe is not None)
    if len(directions) < len(halves) or (len(halves) > 1 and cosine(*directions) < ALIKE):
        return None
    shown = truth(wish.concept, check.labels)
    told = [f1_at((each.on(check.u) > 0).astype(np.float32), 0.5, shown) for each in directions]
    return _Attempt(wish, directions) if min(told) >= TELLS else None


def _is_best(direction: Direction, concept: str, held: Embedded) -> bool:
    """Whether a feature tells its concept, and nothing else better, on the held-out scenes."""
    activation = direction.on(held.u)
    own = name_f1(activation, truth(concept, held.labels))
    if own < TELLS or _density(activation) >= OFTEN:
        return False
    return best_rival(activation, held.labels).f1 <= own + MARGIN


def _wordless(
    train: Embedded, held: Embedded, *, rng: np.random.Generator, rejected: Counter[Kind]
) -> Iterator[Chosen]:
    """Features that no words describe."""
    left = unexplained(train.u, train.labels, rng=rng)
    for weights in random_directions(train.u.shape[1], count=PER_KIND, rng=rng):
        yield Chosen("dead", "", silent(weights, train.u))
    kinds: tuple[tuple[Kind, float, Callable[[Floats, Bools], bool]], ...] = (
        ("incoherent", 0.075, _is_incoherent),
        ("dense", 0.99, _is_dense),
    )
    for kind, share, passes in kinds:
        passed = 0
        for weights in itertools.islice(left, 4 * PER_KIND):
            direction = firing_on(weights, train.u, share=share)
            if passes(direction.on(held.u), held.labels):
                passed += 1
                yield Chosen(kind, "", direction)
            else:
                rejected[kind] += 1
            if passed == PER_KIND:
                break
        _require(passed, PER_KIND, kind=kind)


def _is_incoherent(activation: Floats, labels: Bools) -> bool:
    return 0.05 <= _density(activation) <= 0.1 and best_rival(activation, labels).f1 < COHERENT


def _is_dense(activation: Floats, labels: Bools) -> bool:
    return _density(activation) >= ALWAYS and best_rival(activation, labels).gain < COHERENT


def _density(activation: Floats) -> float:
    return float((activation > 0).mean())


def _require(passed: int, count: int, *, kind: Kind) -> None:
    if passed < count:
        raise UsageError(f"Only {passed} of {count} {kind!r} features can be planted; give another seed.")
