"""How often features are active: as lines of a terminal, as CSV and as an SVG file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from namesae.sae_measuring import Densities
from namesae.sae_plots import density_plot
from sae.measures.density import DensityBin, DensityHistogram
from sae.whole_file import whole_file

WIDEST = 50
FULL, MARKED = "\N{FULL BLOCK}", "\N{LIGHT SHADE}"
STYLE = (
    "<style>svg{background:#fff;font:12px system-ui,sans-serif}text{fill:#5c5c66}.grid{stroke:#e2e2de}"
    ".bin{fill:#0063a6}.marked{fill:#c4500b}.reference{stroke:#5c5c66;stroke-dasharray:3 3}</style>"
)


def density_lines(histogram: DensityHistogram) -> list[str]:
    """A bar for each bin, the cluster's part of it in another shade."""
    tallest = max((each.features for each in histogram.bins), default=0)
    # Empty bins at both ends say nothing.
    filled = [at for at, each in enumerate(histogram.bins) if each.features]
    shown = histogram.bins[filled[0] : filled[-1] + 1] if filled else ()
    lines = [
        f"{histogram.features:,} features on {histogram.rows:,} tokens; "
        f"{histogram.dead:,} dead, {histogram.dead / max(1, histogram.features):.1%}",
        "log10 density    features",
    ]
    lines += [_line(each, tallest) for each in shown]
    cluster = histogram.cluster
    if cluster is None:
        return [*lines, "No ultra-low-density cluster: the densities are of one piece."]
    return [
        *lines,
        f"{MARKED} ultra-low-density cluster: {cluster.features:,} features below 10^{cluster.boundary:.2f}, "
        f"around 10^{cluster.centre:.1f}; the others around 10^{cluster.others:.1f}.",
    ]


def write_density(found: Densities, folder: Path) -> list[Path]:
    """density.csv, a feature a line, and density.svg where there is a live feature; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "density.csv"]
    with whole_file(written[0]) as partial:
        partial.write_text(density_csv(found), encoding="utf-8")
    plot = density_plot(found.histogram)
    if plot is not None:
        written.append(folder / "density.svg")
        head, _, rest = str(plot).partition(">")
        with whole_file(written[1]) as partial:
            partial.write_text(f'{head} xmlns="http://www.w3.org/2000/svg">{STYLE}{rest}\n', encoding="utf-8")
    return written


def density_csv(found: Densities) -> str:
    """Feature, tokens on which it is active, density, its logarithm, and whether it is in the cluster."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["feature", "active", "density", "log10_density", "ultra_low"])
    rows, cluster = found.histogram.rows, found.histogram.cluster
    for feature, active in enumerate(found.active):
        density = float(active) / rows
        log = f"{np.log10(density):.4f}" if active else ""
        low = cluster is not None and active > 0 and np.log10(density) < cluster.boundary
        writer.writerow([feature, int(active), f"{density:.6g}", log, int(low)])
    return out.getvalue()


def _line(each: DensityBin, tallest: int) -> str:
    length = max(1, round(WIDEST * each.features / tallest)) if each.features else 0
    marked = round(length * each.ultra_low / each.features) if each.features else 0
    bar = MARKED * marked + FULL * (length - marked)
    return f"{each.low:6.2f} .. {each.high:5.2f}  {each.features:8,}  {bar}".rstrip()
