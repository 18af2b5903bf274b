"""Densities as lines, CSV and plots: the cluster is marked everywhere."""

from __future__ import annotations

import csv
from xml.etree import ElementTree

import numpy as np

from namesae.sae_density import density_csv, density_lines
from namesae.sae_measuring import Densities
from namesae.sae_plots import Axes, Bar, bar_plot, density_plot, values_plot
from sae.measures.density import density_histogram


def test_the_cluster_is_marked_everywhere() -> None:
    rng = np.random.default_rng(0)
    active = np.round(10.0 ** np.append(rng.normal(4.5, 0.3, 200), rng.normal(1.5, 0.2, 50)))
    found = Densities(density_histogram([*active, 0], rows=1_000_000), np.append(active, 0))
    lines = density_lines(found.histogram)
    assert "50 features below 10^" in lines[-1] and any("\N{LIGHT SHADE}" in line for line in lines[2:-1])
    assert "251 features on 1,000,000 tokens; 1 dead" in lines[0]
    low = [row["ultra_low"] for row in csv.DictReader(density_csv(found).splitlines())]
    assert low == ["0"] * 200 + ["1"] * 50 + ["0"]
    plot = density_plot(found.histogram)
    assert plot is not None and 'class="bin marked"' in plot and "ultra-low" in plot


def test_plots_of_nothing_are_none_and_of_one_value_are_drawn() -> None:
    assert density_plot(density_histogram([0, 0], rows=9)) is None
    axes = Axes("x", "X", "x", "y")
    assert values_plot(np.array([np.nan]), axes) is None and bar_plot([Bar(0, 1, 0)], axes) is None
    for values in (np.full(5, 8.0), np.zeros(3), np.array([1e-9, 1e9, np.inf])):
        plot = values_plot(values, axes)
        assert plot is not None
        rects = [each for each in ElementTree.fromstring(plot).iter() if each.tag == "rect"]
        assert all(0 <= float(each.attrib["x"]) <= 460 and float(each.attrib["width"]) > 0 for each in rects)
