"""Directions in the space of embeddings, with the bias beyond which a feature of that direction is active."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sandbox.truth import Floats
from sandbox.world.concepts import Bools

RAREST = 0.005
"""Share of positive rows, and of negative ones, without which no probe is fitted."""
INVERSE_PENALTY = 0.3
UNEXPLAINED = 32
"""Directions that labels explain least, of which the incoherent and the dense ones are mixed."""
FLOOR = 0.03
"""Variance, in units of an embedding's mean one, below which being explained does not count: else the
choice falls on directions in which next to nothing varies."""


class Direction(NamedTuple):
    """An encoder column and its bias."""

    weights: Floats
    """(d,)"""
    bias: float

    def on(self, u: Floats) -> Floats:
        """(n,) activations for (n, d) normalised embeddings."""
        active: Floats = np.maximum(u @ self.weights + np.float32(self.bias), 0)
        return active

    def scaled(self, u: Floats) -> Direction:
        """The same with 1 as the median of its positive activations on (n, d) embeddings."""
        active = self.on(u)
        size = np.median(active[active > 0]) if (active > 0).any() else 1.0
        return Direction((self.weights / size).astype(np.float32), float(self.bias / size))


def fitted(u: Floats, shown: Bools) -> Direction | None:
    """The logistic regression of (n,) truth on (n, d) embeddings, positive where it says yes; None where too
    few rows show it.

    Classes weigh by their rows: weighing them alike gives no better F1 (0.991 for both over all values).
    """
    from sklearn.linear_model import LogisticRegression

    if not RAREST <= float(shown.mean()) <= 1 - RAREST:
        return None
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000, tol=1e-3).fit(u, shown)
    weights = model.coef_[0].astype(np.float32)
    return Direction(weights, float(model.intercept_[0])).scaled(u)


def cosine(a: Direction, b: Direction) -> float:
    """Of two directions."""
    return float(a.weights @ b.weights / (np.linalg.norm(a.weights) * np.linalg.norm(b.weights)))


def firing_on(weights: Floats, u: Floats, *, share: float) -> Direction:
    """(d,) weights with the bias at which a share of (n, d) embeddings is positive."""
    return Direction(weights, -float(np.quantile(u @ weights, 1 - share))).scaled(u)


def silent(weights: Floats, u: Floats) -> Direction:
    """(d,) unit weights with a bias that no embedding outweighs: four times the longest of (n, d)."""
    return Direction(weights, -4 * float(np.linalg.norm(u, axis=1).max()))


def random_directions(width: int, *, count: int, rng: np.random.Generator) -> Floats:
    """(count, d) unit rows."""
    return _unit(rng.normal(size=(count, width)))


def unexplained(u: Floats, labels: Bools, *, rng: np.random.Generator) -> Iterator[Floats]:
    """Endless (d,) unit rows along which (n, d) embeddings differ by least of what their labels, and pairs of
    labels, explain linearly; each round of 32 is mixed anew.
    """
    rows = _least_explained(u.astype(np.float64), labels)
    while True:
        mixing, _ = np.linalg.qr(rng.normal(size=(len(rows), len(rows))))
        yield from _unit(mixing @ rows)


def _least_explained(u: npt.NDArray[np.float64], labels: Bools) -> npt.NDArray[np.float64]:
    """(m, d) rows of equal variance, by the ratio of variance left over to variance explained."""
    from scipy.linalg import eigh

    explained = _regression(u, labels)
    left = u - explained
    over, under = left.T @ left / len(u), explained.T @ explained / len(u)
    _, columns = eigh(over, under + FLOOR * np.eye(u.shape[1]))
    columns = columns[:, ::-1][:, :UNEXPLAINED]
    rows: npt.NDArray[np.float64] = (columns / (u @ columns).std(0)).T
    return rows


def _regression(u: npt.NDArray[np.float64], labels: Bools) -> npt.NDArray[np.float64]:
    """(n, d) what labels and their pairs say of the embeddings; a ridge of one row keeps it solvable."""
    pairs = [labels[:, a] & labels[:, b] for a, b in itertools.combinations(range(labels.shape[1]), 2)]
    shown = [pair for pair in pairs if pair.any()]
    x = np.column_stack([np.ones(len(u)), labels, *shown]).astype(np.float64)
    fit: npt.NDArray[np.float64] = x @ np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ u)
    return fit


def _unit(rows: npt.NDArray[np.float64]) -> Floats:
    unit: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit
