"""What the shipped models must reach, as data: a figure, its bound, and whether it is met."""

from __future__ import annotations

from collections.abc import Iterable

from sae.feature import Frozen


class Figure(Frozen):
    """One measured figure; ``bound`` None means published, not gated."""

    name: str
    value: float
    bound: float | None = None
    at_most: bool = False

    @property
    def passes(self) -> bool:
        """Whether the bound, if any, is met."""
        if self.bound is None:
            return True
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def __str__(self) -> str:
        wanted = "" if self.bound is None else f"  {'≤' if self.at_most else '≥'} {self.bound:g}"
        return f"{'ok  ' if self.passes else 'FAIL'}  {self.name:<42} {self.value:8.3f}{wanted}"


CLIP: dict[str, float] = {"object": 0.90, "colour": 0.95, "texture": 0.95, "background": 0.97}
"""Zero-shot top-1 of one-word prompts on balanced held-out scenes."""
CLASSIFIER = 0.93
READER = 0.97
GENERATOR: dict[str, float] = {"object": 0.80, "colour": 0.90, "background": 0.95, "texture": 0.85}
"""Read off pictures drawn from full captions of held-out scenes."""
SINGLE_WORD = 0.80
UNRENDERABLE = 0.60
"""A word drawn right less often is listed as unrenderable."""
FVU: dict[str, float] = {"sandbox": 0.10, "sandbox-patch": 0.20, "sandbox-vit": 0.10}
L0 = 20.0
SILENT = 0.05
COHERENT_F1 = 0.80
COHERENT: dict[str, int] = {"sandbox": 60, "sandbox-patch": 60, "sandbox-vit": 20}
"""Features whose best concept has that F1."""
DISTINCT = 50
"""Distinct concepts over all dictionaries."""
PROBE_AUROC = 0.95


def failures(figures: Iterable[Figure]) -> list[Figure]:
    """Those that miss their bound."""
    return [figure for figure in figures if not figure.passes]
