"""How often features are active: a histogram in powers of ten, with the ultra-low-density cluster marked."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sae.feature import Frozen
from sae.metrics import Doubles

BINS_A_DECADE = 4
LEAST_FEATURES = 5
"""Fewer make no cluster."""
LEAST_SPREAD = 0.15
"""Decades: a component is never narrower, else the steps of small counts would look like clusters."""
LEAST_APART = 1.0
"""Decades between the centres of two clusters."""
DEEPEST = 0.5
"""Between two clusters the smoothed densities fall at least to this share of the lower of their peaks."""


class UltraLow(Frozen):
    """The cluster of features that fire far more rarely than the rest."""

    boundary: float
    """log10 density below which a feature belongs to it."""
    features: int
    centre: float
    """Mean log10 density of the component."""
    others: float
    """That of the others' component."""


class DensityBin(Frozen):
    """Features whose log10 density lies in [low, high)."""

    low: float
    high: float
    features: int
    ultra_low: int = 0
    """Of them, those in the cluster."""


class DensityHistogram(Frozen):
    """Shares of the rows on which features are active."""

    rows: int
    """Tokens or images looked at; no density between 0 and 1 / rows can be seen."""
    features: int
    dead: int
    """Active on none; in no bin."""
    bins: tuple[DensityBin, ...]
    cluster: UltraLow | None
    """None where the densities are of one piece."""


class _Mixture(NamedTuple):
    """Two normal components on log10 densities, the lower one first."""

    weights: Doubles
    means: Doubles
    deviations: Doubles
    likelihood: float
    """Log, of all values."""


def density_histogram(active: npt.ArrayLike, *, rows: int) -> DensityHistogram:
    """The histogram of (F,) counts of the rows on which each feature is active."""
    counts = np.asarray(active, np.int64)
    if rows < 1 or (len(counts) and (counts.min() < 0 or counts.max() > rows)):
        raise ValueError(f"Counts of active rows must lie between 0 and {rows} rows; count them again.")
    logs = np.log10(counts[counts > 0] / rows)
    cluster = ultra_low(logs)
    return DensityHistogram(
        rows=rows,
        features=len(counts),
        dead=int((counts == 0).sum()),
        bins=_bins(logs, rows, cluster),
        cluster=cluster,
    )


def ultra_low(logs: npt.ArrayLike) -> UltraLow | None:
    """The lower of two clusters of (n,) log10 densities; None where there is one cluster only.

    A mixture of two normals is fitted by EM. It counts as two clusters when the Bayesian information
    criterion prefers it to one normal by 10 or more, its centres lie a decade apart or more, the values
    themselves, smoothed, thin out between them to half of the lower peak or less, and either part has at
    least five features. The boundary is where a feature belongs to either component with equal chance.
    """
    values = np.sort(np.asarray(logs, np.float64))
    if len(values) < 2 * LEAST_FEATURES or np.ptp(values) < LEAST_APART:
        return None
    mixture = _fitted(values)
    boundary = _boundary(mixture)
    below = int((values < boundary).sum())
    if min(below, len(values) - below) < LEAST_FEATURES or not _is_real(mixture, values):
        return None
    low, high = mixture.means
    return UltraLow(boundary=boundary, features=below, centre=float(low), others=float(high))


def _bins(logs: Doubles, rows: int, cluster: UltraLow | None) -> tuple[DensityBin, ...]:
    first = math.floor(-math.log10(rows) * BINS_A_DECADE)
    edges = np.arange(first, 1) / BINS_A_DECADE
    # A feature that is always active lies in the last bin.
    at = np.clip(np.searchsorted(edges, logs + 1e-12, "right") - 1, 0, max(len(edges) - 2, 0))
    counts = np.bincount(at, minlength=max(len(edges) - 1, 1))
    inside = np.zeros(len(logs)) if cluster is None else (logs < cluster.boundary).astype(np.float64)
    low = np.bincount(at, weights=inside, minlength=max(len(edges) - 1, 1))
    ends = edges if len(edges) > 1 else np.array([-1 / BINS_A_DECADE, 0.0])
    return tuple(
        DensityBin(low=float(a), high=float(b), features=int(count), ultra_low=int(rare))
        for a, b, count, rare in zip(ends[:-1], ends[1:], counts, low, strict=True)
    )


def _fitted(values: Doubles) -> _Mixture:
    """The likeliest of EM's ends from five cuts of the sorted values."""
    cuts = {min(max(2, int(share * len(values))), len(values) - 2) for share in (0.03, 0.1, 0.25, 0.5, 0.75)}
    widest = int(np.diff(values[1:-1]).argmax()) + 2
    return max((_em(values, cut) for cut in sorted(cuts | {widest})), key=lambda each: each.likelihood)


def _em(values: Doubles, cut: int, *, rounds: int = 300) -> _Mixture:
    shares = np.zeros((2, len(values)))
    shares[0, :cut], shares[1, cut:] = 1, 1
    likelihood = -math.inf
    for _ in range(rounds):
        weights = shares.mean(1)
        means = shares @ values / shares.sum(1)
        spread = (shares * (values - means[:, None]) ** 2).sum(1) / shares.sum(1)
        deviations = np.sqrt(np.maximum(spread, LEAST_SPREAD**2))
        logs = np.log(weights)[:, None] + _log_normal(values, means[:, None], deviations[:, None])
        whole = np.logaddexp(*logs)
        shares = np.maximum(np.exp(logs - whole), 1e-12)
        before, likelihood = likelihood, float(whole.sum())
        if likelihood - before < 1e-8 * abs(likelihood):
            break
    order = means.argsort()
    return _Mixture(weights[order], means[order], deviations[order], likelihood)


def _is_real(mixture: _Mixture, values: Doubles) -> bool:
    low, high = mixture.means
    if high - low < LEAST_APART:
        return False
    deviation = max(float(values.std()), LEAST_SPREAD)
    single = float(_log_normal(values, values.mean(), deviation).sum())
    # Five parameters against two.
    gain = 2 * (mixture.likelihood - single) - 3 * math.log(len(values))
    return gain >= 10 and _dips(values, mixture)


def _dips(values: Doubles, mixture: _Mixture) -> bool:
    """Whether the values thin out between the centres: a mixture of two has a dip even where they do not."""
    width = max(LEAST_SPREAD, 0.9 * float(mixture.deviations.max()) * len(values) ** -0.2)
    grid = np.linspace(mixture.means[0], mixture.means[1], 101)
    smooth = np.array([np.exp(-0.5 * ((values - at) / width) ** 2).sum() for at in grid])
    lowest = int(smooth.argmin())
    peaks = min(smooth[: lowest + 1].max(), smooth[lowest:].max())
    return bool(smooth[lowest] <= DEEPEST * peaks)


def _boundary(mixture: _Mixture) -> float:
    grid = np.linspace(mixture.means[0], mixture.means[1], 2001)
    logs = np.log(mixture.weights)[:, None] + _log_normal(
        grid, mixture.means[:, None], mixture.deviations[:, None]
    )
    return float(grid[np.abs(logs[0] - logs[1]).argmin()])


def _log_normal(x: Doubles, mean: npt.ArrayLike, deviation: npt.ArrayLike) -> Doubles:
    m, s = np.asarray(mean, np.float64), np.asarray(deviation, np.float64)
    found: Doubles = -0.5 * ((x - m) / s) ** 2 - np.log(s) - 0.5 * math.log(2 * math.pi)
    return found
