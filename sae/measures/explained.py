"""Explained variance under every definition that published figures use, by name, in one pass.

With x the activations, e = x^ - x, rows b of a batch and dimensions j. The global one is the only one that
depends on neither the batches nor the origin; the others are here to reproduce what peers report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sae.feature import Frozen
from sae.measures.score import finite
from sae.metrics import Doubles, FvuSum

GLOBAL = "saev"
"""The definition that is one number of the whole set."""
BATCH = 4096


class Explained(Frozen):
    """Explained variance as one peer computes it."""

    peer: str
    formula: str
    value: float | None


class _Sum(NamedTuple):
    """What a batch adds to the numerator and the denominator of a mean."""

    total: float
    weight: float


class Definition(NamedTuple):
    """How a peer computes explained variance."""

    peer: str
    formula: str
    measure: Callable[[Doubles, Doubles], _Sum]
    """Of a batch's x and e, both (n, d)."""
    batch: int | None = None
    """Rows of the peer's own batches; None: those of ``ExplainedVariance``."""
    by_position: bool = False
    """Whether the batch's mean is taken per place of the token in its image."""


def _of_batch(part: float, whole: float) -> _Sum:
    return _Sum(1 - part / whole, 1.0) if whole > 0 else _Sum(0.0, 0.0)


def _of_rows(parts: Doubles, wholes: Doubles) -> _Sum:
    kept = wholes > 0
    return _Sum(float((1 - parts[kept] / wholes[kept]).sum()), float(kept.sum()))


def _variance(x: Doubles, e: Doubles) -> _Sum:
    return _of_batch(float(e.var(0).sum()), float(x.var(0).sum()))


def _within_row(x: Doubles, e: Doubles) -> _Sum:
    return _of_rows(e.var(1), x.var(1))


def _uncentred(x: Doubles, e: Doubles) -> _Sum:
    return _of_rows((e**2).sum(1), (x**2).sum(1))


def _standardised(x: Doubles, e: Doubles) -> _Sum:
    # Both sides are divided by the row's own deviation, which cancels; its mean is subtracted from x alone.
    return _of_rows((e**2).sum(1), ((x - x.mean(1, keepdims=True)) ** 2).sum(1))


def _scalar_mean(x: Doubles, e: Doubles) -> _Sum:
    return _of_batch(float((e**2).mean()), float(((x - x.mean()) ** 2).mean()))


def _row_ratios(x: Doubles, e: Doubles) -> _Sum:
    return _of_rows((e**2).sum(-1).ravel(), ((x - x.mean(0)) ** 2).sum(-1).ravel())


def _batch_ratio(x: Doubles, e: Doubles) -> _Sum:
    return _of_batch(float((e**2).sum()), float(((x - x.mean(0)) ** 2).sum()))


DEFINITIONS: tuple[Definition, ...] = (
    Definition("martetten", "1 - mean_j Var_b(e) / mean_j Var_b(x), mean over batches of 64", _variance, 64),
    Definition("msae", "1 - mean_b [Var_j(e_b) / Var_j(x_b)]", _within_row),
    Definition("hugofry", "mean_b [1 - |e_b|^2 / |x_b|^2]", _uncentred),
    Definition("openai", "1 - mean_b [|e_b|^2 / |x_b|^2], x_b standardised row by row", _standardised),
    Definition("overcomplete", "1 - mean(e^2) / mean((x - mean x)^2), mean x one number", _scalar_mean),
    Definition(
        "prisma",
        "mean_b [1 - |e_b|^2 / |x_b - mean_batch x|^2], a mean per token position",
        _row_ratios,
        by_position=True,
    ),
    Definition("saelens-legacy", "mean_b [1 - |e_b|^2 / |x_b - mean_batch x|^2]", _row_ratios),
    Definition("dictionary-learning", "1 - sum_j Var_b(e) / sum_j Var_b(x), mean over batches", _variance),
    Definition("sparsify", "1 - sum |e|^2 / sum |x - mean_batch x|^2, mean over batches", _batch_ratio),
)
"""Those that are means over batches or rows."""
WHOLE: tuple[tuple[str, str], ...] = (
    ("saelens", "1 - E|e|^2 / (E|x|^2 - |E x|^2) over the whole set"),
    (GLOBAL, "1 - sum |e|^2 / (sum |x|^2 - |sum x|^2 / N), float64, over the whole set"),
)
"""Those that are one ratio of the whole set: 1 less the FVU of ``sae.metrics``."""


class ExplainedVariance:
    """All definitions over any number of rows; how they are cut into calls of ``add`` changes nothing."""

    def __init__(self, *, batch_size: int = BATCH, positions: int = 1) -> None:
        """``positions``: tokens of an image, which follow one another; batches hold whole images."""
        whole = max(1, batch_size // positions) * positions
        self._positions = positions
        self._blocks = [_Blocks(each.batch or whole) for each in DEFINITIONS]
        self._sums = [_Sum(0.0, 0.0) for _ in DEFINITIONS]
        self._fvu = FvuSum()

    def add(self, activations: npt.ArrayLike, reconstructions: npt.ArrayLike) -> None:
        """Count (n, d) rows and their reconstructions."""
        x = np.asarray(activations, np.float64)
        e = np.asarray(reconstructions, np.float64) - x
        self._fvu.add(x, x + e)
        for at, blocks in enumerate(self._blocks):
            for block in blocks.add(x, e):
                self._count(at, *block)

    def values(self) -> tuple[Explained, ...]:
        """Every definition, the rows that fill no whole batch counted as one; None while nothing varies."""
        for at, blocks in enumerate(self._blocks):
            for block in blocks.rest():
                self._count(at, *block)
        means = [each.total / each.weight if each.weight else float("nan") for each in self._sums]
        found = [
            Explained(peer=each.peer, formula=each.formula, value=finite(mean))
            for each, mean in zip(DEFINITIONS, means, strict=True)
        ]
        whole = finite(1 - self._fvu.value)
        return (*found, *(Explained(peer=peer, formula=formula, value=whole) for peer, formula in WHOLE))

    @property
    def fvu(self) -> float:
        """The global FVU."""
        return self._fvu.value

    def _count(self, at: int, x: Doubles, e: Doubles) -> None:
        if DEFINITIONS[at].by_position and len(x) % self._positions == 0:
            shape = (-1, self._positions, x.shape[1])
            x, e = x.reshape(shape), e.reshape(shape)
        held, new = self._sums[at], DEFINITIONS[at].measure(x, e)
        self._sums[at] = _Sum(held.total + new.total, held.weight + new.weight)


class _Blocks:
    """Cuts rows into batches of one size, however they come."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[tuple[Doubles, Doubles]] = []
        self._rows = 0

    def add(self, x: Doubles, e: Doubles) -> Iterator[tuple[Doubles, Doubles]]:
        self._held.append((x, e))
        self._rows += len(x)
        if self._rows < self._size:
            return
        xs, es = (np.concatenate(each) for each in zip(*self._held, strict=True))
        full = self._rows // self._size * self._size
        self._held = [(xs[full:], es[full:])]
        self._rows -= full
        for start in range(0, full, self._size):
            yield xs[start : start + self._size], es[start : start + self._size]

    def rest(self) -> Iterator[tuple[Doubles, Doubles]]:
        """What fills no batch; nothing is held afterwards."""
        if self._rows:
            x, e = (np.concatenate(each) for each in zip(*self._held, strict=True))
            yield x, e
        self._held, self._rows = [], 0
