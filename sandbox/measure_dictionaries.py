"""Measure the sandbox's dictionaries on the held-out scenes: fit, coherent features, what codes tell a
linear probe.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from sandbox import gates
from sandbox.activations import Measured, measure
from sandbox.gates import Figure
from sandbox.heldout import HeldOut, held_out
from sandbox.truth import Floats, TruthRow, load_truth
from sandbox.world.scene import labels

PROBED = ("object", "colour", "texture", "background")


def dictionary_figures(models: Path) -> list[Figure]:
    """Figures of all three dictionaries, and the distinct concepts over them."""
    figures: list[Figure] = []
    told: set[str] = set()
    for name in gates.COHERENT:
        measured = measure(models / name)
        rows = load_truth(models / name)
        figures += _fit(name, measured) + _coherence(name, rows)
        told |= {row.concept for row in rows if row.f1 >= gates.COHERENT_F1}
        if name == "sandbox":
            figures += probe_figures(measured.activations, held_out())
    return [*figures, Figure(name="distinct concepts", value=float(len(told)), bound=gates.DISTINCT)]


def _fit(name: str, measured: Measured) -> list[Figure]:
    fit = measured.fit
    return [
        Figure(name=f"{name} FVU", value=fit.fvu, bound=gates.FVU[name], at_most=True),
        Figure(name=f"{name} L0", value=fit.l0, bound=gates.L0, at_most=True),
        Figure(name=f"{name} silent", value=fit.silent, bound=gates.SILENT, at_most=True),
    ]


def _coherence(name: str, rows: list[TruthRow]) -> list[Figure]:
    good = [row for row in rows if row.f1 >= gates.COHERENT_F1]
    return [
        Figure(name=f"{name} features F1 ≥ .80", value=float(len(good)), bound=gates.COHERENT[name]),
        Figure(name=f"{name} of them conjunctions", value=float(sum(row.kind == "and" for row in good))),
        Figure(name=f"{name} share coherent", value=float(np.mean([row.kind != "none" for row in rows]))),
    ]


def probe_figures(activations: Floats, scenes: HeldOut) -> list[Figure]:
    """Macro one-against-rest AUROC of a linear probe on the codes, fitted on even, read on odd scenes."""
    scaled = activations / np.maximum(activations.std(0), 1e-6)
    figures = []
    for name in PROBED:
        true = np.array([labels(scene)[name] for scene in scenes.scenes])
        probe = LogisticRegression(max_iter=200, C=0.1).fit(scaled[0:8000:2], true[0:8000:2])
        area = roc_auc_score(
            true[1::2], probe.predict_proba(scaled[1::2]), multi_class="ovr", average="macro"
        )
        figures.append(
            Figure(name=f"sandbox linear probe {name}", value=float(area), bound=gates.PROBE_AUROC)
        )
    return figures
