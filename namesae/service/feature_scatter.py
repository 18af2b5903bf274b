"""Density against activation scale, thinned to what a browser draws at once."""

from __future__ import annotations

import numpy as np

from namesae.service.catalogue_lines import UNTRIED, VERDICTS
from namesae.service.catalogue_table import Table
from namesae.service.feature_names import Indices
from namesae.service.feature_query import Scatter, ScatterPoint


def scatter_of(table: Table, most: int) -> Scatter:
    """Features whose density and scale are known, by index.

    Where there are more than ``most``, evenly spaced ones of each verdict, in proportion to its share.
    """
    columns = table.columns
    known = np.flatnonzero(np.isfinite(columns.density) & np.isfinite(columns.scale))
    chosen = known if len(known) <= most else _thinned(table, known, most)
    return Scatter(points=tuple(_point(table, int(index)) for index in chosen), total=len(known))


def _thinned(table: Table, known: Indices, most: int) -> Indices:
    codes = table.columns.verdict[known]
    kinds = np.unique(codes)
    chosen = []
    for kind in kinds:
        members = known[codes == kind]
        count = max(1, (most - len(kinds)) * len(members) // len(known))
        chosen.append(members[np.linspace(0, len(members) - 1, count).astype(np.int64)])
    return np.sort(np.concatenate(chosen))


def _point(table: Table, index: int) -> ScatterPoint:
    columns, code = table.columns, int(table.columns.verdict[index])
    return ScatterPoint(
        index=index,
        density=float(columns.density[index]),
        scale=float(columns.scale[index]),
        verdict=None if code == UNTRIED else VERDICTS[code],
    )
