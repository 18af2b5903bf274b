"""``namesae name … --json | python -m sandbox.grade``: which names are right, by what the held-out scenes
show.

A name is right when the caption grammar, synonyms included, reads it as labels whose F1 as what the feature
detects lies within 0.03 of the best concept's. Both F1 are taken on the odd held-out scenes with the cut
chosen on the even ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from sae.feature import Frozen
from sandbox.activations import measure
from sandbox.heldout import held_out
from sandbox.truth import TruthRow, load_truth, name_f1
from sandbox.world.concepts import truth

MODELS = Path(__file__).parent / "models"
MARGIN = 0.03


class Grade(Frozen):
    """How one name did."""

    feature: str
    name: str | None
    verdict: str
    concept: str
    """The best concept of the truth table."""
    concept_f1: float
    name_f1: float | None
    """None when there is no name or the grammar cannot read it."""

    @property
    def is_right(self) -> bool:
        return self.name_f1 is not None and self.name_f1 >= self.concept_f1 - MARGIN

    def __str__(self) -> str:
        found = "-" if self.name_f1 is None else f"{self.name_f1:.2f}"
        mark = "right" if self.is_right else "WRONG"
        said = f"{mark}  {self.feature:<22} {self.name or '-':<26} {found:>5}"
        return f"{said}   {self.concept:<22} {self.concept_f1:.2f}  {self.verdict}"


@cache
def _rows(dictionary: str) -> dict[int, TruthRow]:
    return {row.index: row for row in load_truth(MODELS / dictionary)}


def grade(dictionary: str, index: int, *, name: str | None, verdict: str) -> Grade:
    """Grade one name of one feature of a shipped dictionary."""
    row, found = _rows(dictionary)[index], None
    if name:
        scenes = held_out()
        try:
            shown = truth(name, scenes.labels)
        except ValueError:
            found = None
        else:
            found = name_f1(measure(MODELS / dictionary).activations[:, index], shown)
    return Grade(
        feature=f"{dictionary}#{index}",
        name=name,
        verdict=verdict,
        concept=row.concept,
        concept_f1=row.f1,
        name_f1=found,
    )


def grades(lines: Iterable[str]) -> list[Grade]:
    """Grade every ``"type": "feature"`` record of JSON lines."""
    found = []
    for line in lines:
        record = json.loads(line)
        if record.get("type") == "feature":
            feature = record["feature"]
            found.append(
                grade(
                    feature["dictionary"],
                    feature["index"],
                    name=record.get("name"),
                    verdict=record["verdict"],
                )
            )
    return found


def main() -> int:
    """Grade standard input; exit 1 when fewer are right than ``--least``."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.grade", description=__doc__)
    parser.add_argument("--least", type=int, default=0, help="exit 1 when fewer names are right")
    args = parser.parse_args()
    found = grades(sys.stdin)
    right = sum(each.is_right for each in found)
    print(*found, sep="\n")
    print(f"{right} of {len(found)} right")
    return 0 if right >= args.least else 1


if __name__ == "__main__":
    sys.exit(main())
