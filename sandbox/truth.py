"""The truth table of a dictionary: for every feature the concept that its activation tells best, and how
well.

A feature is read as a detector: it calls a scene positive when its activation reaches a cut. Concept and cut
are chosen on the even held-out scenes, F1 and AUROC are reported on the odd ones.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sae.feature import Frozen
from sae.metrics import auroc
from sandbox.world.concepts import VALUES, Bools, Concept
from sandbox.world.vocabulary import Value

Floats = npt.NDArray[np.float32]
Kind = Literal[
    "object", "family", "colour", "texture", "background", "size", "count", "not", "and", "none",
    "mono", "hierarchy", "or", "duplicate", "dead", "dense", "incoherent", "undrawable", "class",
]  # fmt: skip
"""Found (first line), or planted (second line and 'not', 'and'): 'incoherent' is what no words describe,
'undrawable' a concept that the dictionary's generator does not show although it knows the words."""
COHERENT = 0.5
"""Below this F1 nothing coherent is said of a feature."""
SIMPLER = 0.01
"""A single value is preferred to a conjunction whose F1 is higher by no more than this."""


class TruthRow(Frozen):
    """What one feature tells."""

    index: int
    concept: str
    """Canonical words, e.g. 'striped fish' or 'not plain'; '' when nothing coherent."""
    kind: Kind
    f1: float
    """On the odd scenes, at the cut chosen on the even ones."""
    auroc: float
    """On the odd scenes; 0.5 when nothing coherent."""
    density: float
    """Share of the held-out scenes on which the feature is active."""


class Cut(NamedTuple):
    """The best cut of a feature for each of several concepts, on one half."""

    f1: npt.NDArray[np.float64]
    cut: npt.NDArray[np.float64]


def concepts() -> tuple[Concept, ...]:
    """Every value, every negated value and every conjunction of two values that can hold together."""
    single = [Concept(frozenset({value})) for value in VALUES]
    negated = [Concept(frozenset(), frozenset({value})) for value in VALUES]
    pairs = [Concept(frozenset(pair)) for pair in itertools.combinations(VALUES, 2) if _compatible(*pair)]
    return (*single, *negated, *pairs)


def _compatible(a: Value, b: Value) -> bool:
    return a.attribute != b.attribute and {a.attribute, b.attribute} != {"object", "family"}


def kind_of(concept: Concept) -> Kind:
    """The attribute of a single value, 'not' or 'and'."""
    if concept.absent:
        return "not"
    if len(concept.present) > 1:
        return "and"
    return next(iter(concept.present)).attribute  # type: ignore[return-value]


def words(concept: Concept) -> str:
    """The concept as a name says it: adjectives, noun, place."""
    order = ("count", "size", "texture", "colour", "family", "object", "background")
    said = [v.value for v in sorted(concept.present, key=lambda v: order.index(v.attribute))]
    return " ".join(said + [f"not {v.value}" for v in sorted(concept.absent)])


def best_cuts(activation: Floats, truth: Bools) -> Cut:
    """(c,) the highest F1 of any positive cut, for (n,) activations and (n, c) truth, and that cut."""
    order = np.argsort(-activation, kind="stable")
    order = order[: int((activation > 0).sum())]
    total = truth.sum(0).astype(np.float64)
    if not len(order):
        return Cut(np.zeros(truth.shape[1]), np.full(truth.shape[1], np.inf))
    hits = truth[order].cumsum(0, dtype=np.float32)
    f1 = 2 * hits / (np.arange(1, len(order) + 1, dtype=np.float32)[:, None] + total.astype(np.float32))
    # Only the last of equal activations is a cut: the ones before it cannot be told apart from it.
    ordered = activation[order]
    f1[:-1][ordered[:-1] == ordered[1:]] = 0
    best = f1.argmax(0)
    return Cut(f1[best, np.arange(truth.shape[1])].astype(np.float64), ordered[best].astype(np.float64))


def f1_at(activation: Floats, cut: float, truth: Bools) -> float:
    """F1 of 'activation >= cut' for (n,) truth."""
    called = activation >= cut
    wrong_and_right = called.sum() + truth.sum()
    return float(2 * (called & truth).sum() / wrong_and_right) if wrong_and_right else 0.0


def name_f1(activation: Floats, truth: Bools) -> float:
    """F1 of (n,) activations for a name's (n,) truth on the odd scenes, cut chosen on the even."""
    cut = best_cuts(activation[0::2], truth[0::2, None]).cut[0]
    return f1_at(activation[1::2], float(cut), truth[1::2])


def truth_table(activations: Floats, labels: Bools) -> list[TruthRow]:
    """A row for every feature, from (n, F) activations and (n, len(VALUES)) labels of the held-out scenes."""
    known = concepts()
    truth = np.stack([concept.holds(labels) for concept in known], axis=1)
    rates = truth[0::2].mean(0)
    return [_row(i, activations[:, i], known, truth, rates) for i in range(activations.shape[1])]


def _row(
    index: int, activation: Floats, known: Sequence[Concept], truth: Bools, rates: npt.NDArray[np.float64]
) -> TruthRow:
    chosen = _choose(best_cuts(activation[0::2], truth[0::2]), known, rates)
    density = float((activation > 0).mean())
    if chosen is None:
        return TruthRow(index=index, concept="", kind="none", f1=0.0, auroc=0.5, density=density)
    at, cut = chosen
    reported = truth[1::2, at]
    f1 = f1_at(activation[1::2], cut, reported)
    if f1 < COHERENT:
        return TruthRow(index=index, concept="", kind="none", f1=f1, auroc=0.5, density=density)
    area = auroc(activation[1::2][reported], activation[1::2][~reported])
    return TruthRow(
        index=index, concept=words(known[at]), kind=kind_of(known[at]), f1=f1, auroc=area, density=density
    )


def _choose(cuts: Cut, known: Sequence[Concept], rates: npt.NDArray[np.float64]) -> tuple[int, float] | None:
    """The concept of the highest F1 among those that beat always saying yes by half of what that leaves."""
    always = 2 * rates / (1 + rates)
    score = np.where(cuts.f1 - always >= 0.5 * (1 - always), cuts.f1, 0.0)
    best = int(score.argmax())
    if score[best] <= 0:
        return None
    single = np.array([len(concept.present) == 1 and not concept.absent for concept in known])
    simple = int(np.where(single, score, 0.0).argmax())
    at = simple if score[simple] >= score[best] - SIMPLER else best
    return at, float(cuts.cut[at])


def save_truth(rows: Sequence[TruthRow], folder: Path) -> None:
    """Write truth.json into a dictionary folder."""
    (folder / "truth.json").write_text(json.dumps([row.model_dump() for row in rows], indent=0))


def load_truth(folder: Path) -> list[TruthRow]:
    """The truth table of a dictionary folder."""
    return [TruthRow.model_validate(row) for row in json.loads((folder / "truth.json").read_text())]
