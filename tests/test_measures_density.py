"""The density histogram, and the cluster of features that almost never fire, planted and not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sae.measures.density import density_histogram, ultra_low
from sae.metrics import Doubles

ROWS = 10_000_000


def counts(logs: Doubles, *, rows: int = ROWS, seed: int = 0) -> Doubles:
    """How often features of these log10 densities fire, by chance."""
    return np.random.default_rng(seed).binomial(rows, np.clip(10.0**logs, 0, 1)).astype(np.float64)


@pytest.mark.parametrize(("main", "low"), [(900, 100), (500, 500), (100, 900), (1_990, 10)])
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_cluster_is_found_with_its_members(main: int, low: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logs = np.append(rng.normal(-2, 0.5, main), rng.normal(-5, 0.3, low))
    found = density_histogram(counts(logs, seed=seed), rows=ROWS)
    assert found.cluster is not None
    assert found.cluster.features == pytest.approx(low, abs=max(2, 0.02 * low))
    assert found.cluster.centre == pytest.approx(-5, abs=0.3) and found.cluster.others == pytest.approx(
        -2, abs=0.2
    )
    assert -4.6 < found.cluster.boundary < -3
    assert sum(each.ultra_low for each in found.bins) == found.cluster.features


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", ["normal", "wide", "skewed", "uniform", "power"])
def test_one_cluster_is_not_called_two(shape: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logs = {
        "normal": rng.normal(-3, 0.6, 1000),
        "wide": rng.normal(-4, 1.2, 1000),
        "skewed": -0.5 - rng.exponential(1.0, 1000),
        "uniform": rng.uniform(-6, -1, 1000),
        "power": np.log10(np.minimum(1, rng.pareto(0.8, 1000) * 1e-4)),
    }[shape]
    assert density_histogram(counts(logs, seed=seed), rows=ROWS).cluster is None


@pytest.mark.parametrize("seed", range(5))
def test_the_steps_of_small_counts_make_no_cluster(seed: int) -> None:
    logs = np.random.default_rng(seed).normal(-2.6, 0.6, 2000)
    assert density_histogram(counts(logs, rows=2000, seed=seed), rows=2000).cluster is None


@given(st.lists(st.integers(0, 1000), max_size=60))
def test_every_feature_is_dead_or_in_one_bin(active: list[int]) -> None:
    found = density_histogram(active, rows=1000)
    assert found.dead + sum(each.features for each in found.bins) == len(active) == found.features
    assert found.dead == active.count(0)
    for each in found.bins:
        inside = [n for n in active if n and each.low - 1e-9 <= np.log10(n / 1000) < each.high - 1e-9]
        always = active.count(1000) if each.high == 0 else 0
        assert each.features == len(inside) + always


def test_few_features_and_one_row_are_no_trouble() -> None:
    assert density_histogram([], rows=5).bins
    assert density_histogram([1, 0, 1], rows=1).dead == 1
    assert ultra_low([-1.0, -5.0]) is None
    assert ultra_low([-2.0] * 50) is None
    with pytest.raises(ValueError, match="between 0 and 5"):
        density_histogram([6], rows=5)
