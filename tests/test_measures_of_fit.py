"""Explained variance under every definition, against formulas written out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.measures.explained import DEFINITIONS, GLOBAL, ExplainedVariance
from sae.metrics import Doubles

POSITIONS, IMAGES, WIDTH = 7, 31, 5
BATCH = 49
"""Seven images."""


def rows(seed: int = 0, *, offset: float = 3.0) -> tuple[Doubles, Doubles]:
    """Activations with a large mean, and a reconstruction that is biased and noisy."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(IMAGES * POSITIONS, WIDTH)) * [1, 2, 3, 0.5, 1] + offset * np.arange(WIDTH)
    return x, x + 0.3 * rng.normal(size=x.shape) + 0.2


def batches(x: Doubles, size: int) -> list[Doubles]:
    return [x[start : start + size] for start in range(0, len(x), size)]


def mean(values: Iterable[Any]) -> float:
    return float(np.mean(list(values)))


def var_ratio(size: int) -> Callable[[Doubles, Doubles], float]:
    def measure(x: Doubles, y: Doubles) -> float:
        found = []
        for a, b in zip(batches(x, size), batches(y, size), strict=True):
            spread = [np.var(b[:, j] - a[:, j]) for j in range(WIDTH)]
            found.append(1 - mean(spread) / mean([np.var(a[:, j]) for j in range(WIDTH)]))
        return mean(found)

    return measure


def per_row(of: Callable[[Doubles, Doubles], Any]) -> Callable[[Doubles, Doubles], float]:
    return lambda x, y: mean([of(a, b) for a, b in zip(x, y, strict=True)])


def scalar_mean(x: Doubles, y: Doubles) -> float:
    found = []
    for a, b in zip(batches(x, BATCH), batches(y, BATCH), strict=True):
        centre = a.sum() / a.size
        found.append(1 - np.square(b - a).sum() / np.square(a - centre).sum())
    return mean(found)


def legacy(x: Doubles, y: Doubles) -> float:
    found = []
    for a, b in zip(batches(x, BATCH), batches(y, BATCH), strict=True):
        centre = a.sum(0) / len(a)
        found += [1 - ((q - p) @ (q - p)) / ((p - centre) @ (p - centre)) for p, q in zip(a, b, strict=True)]
    return mean(found)


def prisma(x: Doubles, y: Doubles) -> float:
    found = []
    for a, b in zip(batches(x, BATCH), batches(y, BATCH), strict=True):
        for row, (p, q) in enumerate(zip(a, b, strict=True)):
            same_place = [a[other] for other in range(row % POSITIONS, len(a), POSITIONS)]
            away = p - np.mean(same_place, axis=0)
            found.append(1 - ((q - p) @ (q - p)) / (away @ away))
    return mean(found)


def openai(x: Doubles, y: Doubles) -> float:
    found = []
    for p, q in zip(x, y, strict=True):
        centre, deviation = p.mean(), p.std(ddof=1)
        u, v = (p - centre) / deviation, (q - centre) / deviation
        found.append(((v - u) ** 2).sum() / (u**2).sum())
    return 1 - mean(found)


def sparsify(x: Doubles, y: Doubles) -> float:
    pairs = zip(batches(x, BATCH), batches(y, BATCH), strict=True)
    return mean([1 - ((b - a) ** 2).sum() / ((a - a.mean(0)) ** 2).sum() for a, b in pairs])


def whole(x: Doubles, y: Doubles) -> float:
    spread = (x * x).sum() - (x.sum(0) @ x.sum(0)) / len(x)
    return float(1 - ((y - x) ** 2).sum() / spread)


WRITTEN_OUT: dict[str, Callable[[Doubles, Doubles], float]] = {
    "martetten": var_ratio(64),
    "msae": per_row(lambda p, q: 1 - np.var(q - p) / np.var(p)),
    "hugofry": per_row(lambda p, q: 1 - np.sum((q - p) ** 2) / np.sum(p**2)),
    "openai": openai,
    "overcomplete": scalar_mean,
    "prisma": prisma,
    "saelens-legacy": legacy,
    "dictionary-learning": var_ratio(BATCH),
    "sparsify": sparsify,
    "saelens": whole,
    "saev": whole,
}


def explained(x: Doubles, y: Doubles, *, step: int) -> dict[str, float | None]:
    total = ExplainedVariance(batch_size=BATCH + 3, positions=POSITIONS)
    for start in range(0, len(x), step):
        total.add(x[start : start + step], y[start : start + step])
    return {each.peer: each.value for each in total.values()}


@pytest.mark.parametrize("peer", WRITTEN_OUT)
def test_explained_variance_is_the_peers_formula(peer: str) -> None:
    x, y = rows()
    assert explained(x, y, step=11)[peer] == pytest.approx(WRITTEN_OUT[peer](x, y), abs=1e-12)


def test_every_definition_has_a_formula_of_its_own() -> None:
    x, y = rows()
    found = explained(x, y, step=1000)
    assert set(found) == set(WRITTEN_OUT) and {each.peer for each in DEFINITIONS} < set(found)
    assert len({round(value or 0, 9) for value in found.values()}) == len(found) - 1
    # The bias of the reconstruction is free to some, and an origin far away flatters others.
    assert (found["martetten"] or 0) > (found[GLOBAL] or 0) and (found["hugofry"] or 0) > (found[GLOBAL] or 0)


@settings(max_examples=12)
@given(step=st.integers(1, 300))
def test_how_rows_are_cut_changes_no_definition(step: int) -> None:
    x, y = rows()
    for peer, value in explained(x, y, step=step).items():
        assert value == pytest.approx(explained(x, y, step=1000)[peer], abs=1e-12)


def test_the_mean_alone_explains_nothing_globally_and_much_to_others() -> None:
    x, _ = rows(offset=50)
    found = explained(x, np.broadcast_to(x.mean(0), x.shape).copy(), step=64)
    assert found[GLOBAL] == pytest.approx(0, abs=1e-9) and (found["hugofry"] or 0) > 0.99


def test_what_does_not_vary_has_no_explained_variance() -> None:
    x = np.ones((100, 4))
    assert {value for value in explained(x, x + 1, step=30).values()} <= {None, 0.0, -1.0, 1.0}
    assert explained(x, x + 1, step=30)[GLOBAL] is None
