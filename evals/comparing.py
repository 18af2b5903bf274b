"""One condition against another on the same features: difference, interval, and p with Holm's correction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from evals.cell import Cell
from evals.cell_groups import group_names, in_group
from evals.cell_result import result_of
from evals.figures import figure_of
from evals.scoreboard import Difference, Figure
from sae.feature import Feature
from sae.intervals import newcombe, paired_difference

Doubles = npt.NDArray[np.float64]
UNPAIRED = frozenset({"untrained"})
"""Conditions that name other features, which have but the index in common: shares are compared unpaired."""


def differences(cells: Sequence[Cell], *, ours: str = "agent", seed: int) -> tuple[Difference, ...]:
    """Our condition against every other, by measure, on all features, each kind, and within the seeds or not.

    A comparison that shares no feature is left out. () where our condition has no cell.
    """
    by_condition: dict[str, list[Cell]] = {}
    for cell in cells:
        by_condition.setdefault(cell.condition, []).append(cell)
    mine = by_condition.pop(ours, [])
    found: list[Difference] = []
    for group in group_names(mine, derived=True):
        members = in_group(mine, group)
        for measure in MEASURES:
            family = [
                compare(members, theirs, measure=measure, group=group, seed=seed)
                for theirs in by_condition.values()
                if measure in SHARES or _condition(theirs) not in UNPAIRED
            ]
            found += corrected([each for each in family if each.estimate.n])
    return tuple(found)


def compare(
    ours: Sequence[Cell], theirs: Sequence[Cell], *, measure: str, group: str = "all", seed: int = 0
) -> Difference:
    """One condition's cells less another's, over the features for which both have the measure.

    Failed cells have none. Two-sided p: exact McNemar for accuracy and named (Fisher where unpaired), else
    Wilcoxon's signed ranks; the interval holds the percentiles of resampled features (Newcombe's where
    unpaired). KeyError on an unknown measure.
    """
    a, b = _values(ours, MEASURES[measure]), _values(theirs, MEASURES[measure])
    shared = [feature for feature in a if feature in b]
    estimate, p = Figure(value=None), None
    if shared:
        first, second = np.array([a[each] for each in shared]), np.array([b[each] for each in shared])
        estimate, p = _compared(first, second, measure=measure, seed=seed)
        if _condition(theirs) in UNPAIRED and measure in SHARES:
            counts = (int(first.sum()), len(first), int(second.sum()), len(second))
            estimate, p = share_difference(*counts), fisher_p(*counts)
    return Difference(
        ours=_condition(ours),
        theirs=_condition(theirs),
        measure=measure,
        group=group,
        estimate=estimate,
        p=p,
        p_corrected=None,
    )


def _compared(first: Doubles, second: Doubles, *, measure: str, seed: int) -> tuple[Figure, float]:
    estimate = figure_of(paired_difference(first, second, seed=seed), n=len(first))
    p = mcnemar_p(first > second, first < second) if measure in SHARES else wilcoxon_p(first - second)
    return estimate, p


def corrected(family: Sequence[Difference]) -> list[Difference]:
    """The same with Holm's p over all of them: the i-th smallest of m times m - i + 1, none below one before.

    Scand. J. Stat. 6 (1979) 65. Differences without a p count for nothing.
    """
    tested = sorted(
        (at for at, each in enumerate(family) if each.p is not None), key=lambda at: family[at].p or 0.0
    )
    least, raised = 0.0, list(family)
    for rank, at in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * (family[at].p or 0.0)))
        raised[at] = family[at].model_copy(update={"p_corrected": least})
    return raised


def mcnemar_p(only_ours: npt.ArrayLike, only_theirs: npt.ArrayLike) -> float:
    """Exact two-sided p that either is as often right alone: binomial, of the features they differ on."""
    from scipy.stats import binomtest

    won, lost = int(np.sum(only_ours)), int(np.sum(only_theirs))
    return 1.0 if won + lost == 0 else float(binomtest(won, won + lost, 0.5).pvalue)


def wilcoxon_p(difference: npt.ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed ranks; features without a difference count for nothing."""
    from scipy.stats import wilcoxon

    row = np.asarray(difference, np.float64)
    moved = row[row != 0]
    return 1.0 if not len(moved) else float(wilcoxon(moved).pvalue)


def fisher_p(successes_a: int, n_a: int, successes_b: int, n_b: int) -> float:
    """Fisher's exact two-sided p that two shares of different features are the same."""
    from scipy.stats import fisher_exact

    table = [[successes_a, n_a - successes_a], [successes_b, n_b - successes_b]]
    return float(fisher_exact(table).pvalue)


def share_difference(successes_a: int, n_a: int, successes_b: int, n_b: int) -> Figure:
    """Share a less share b of different features (Newcombe's interval), as of an untrained dictionary.

    ``n``: features of both. Without a value where either has none.
    """
    if not n_a or not n_b:
        return Figure(value=None)
    return figure_of(newcombe((successes_a, n_a), (successes_b, n_b)), n=n_a + n_b)


def _accuracy(cell: Cell) -> float | None:
    known = cell.truth is not None and cell.truth.concept != ""
    return float(cell.grade.right is True) if known else None


def _named(cell: Cell) -> float:
    return float(cell.answer.claims)


def _auroc(cell: Cell) -> float | None:
    return None if cell.judged is None or cell.judged.cosy is None else cell.judged.cosy.auroc


def _auprc(cell: Cell) -> float | None:
    return None if cell.judged is None or cell.judged.recall is None else cell.judged.recall.auprc


def _correlation(cell: Cell) -> float | None:
    return None if cell.judged is None or cell.judged.recall is None else cell.judged.recall.correlation


MEASURES: Mapping[str, Callable[[Cell], float | None]] = {
    "accuracy": _accuracy,
    "auroc": _auroc,
    "auprc": _auprc,
    "correlation": _correlation,
    "named": _named,
}
SHARES = ("accuracy", "named")


def _values(cells: Iterable[Cell], measure: Callable[[Cell], float | None]) -> dict[Feature, float]:
    values = {cell.feature: measure(cell) for cell in cells if result_of(cell) != "failed"}
    return {feature: value for feature, value in values.items() if value is not None and np.isfinite(value)}


def _condition(cells: Sequence[Cell]) -> str:
    return cells[0].condition if cells else ""
