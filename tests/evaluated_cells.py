"""Cells as an evaluation leaves them, for the tests of its figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.records import Cost
from evals.answer import Answer, Step
from evals.cell import Cell, Grade, Judged, Recall
from evals.subject import Truth
from sae.feature import Feature
from tools.cosy import score_explanation


def cell(condition: str, index: int, **more: Any) -> Cell:
    """A feature that stands for 'concept INDEX', not named; ``more`` replaces any field."""
    given: dict[str, Any] = {
        "suite": "digest",
        "condition": condition,
        "title": condition.upper(),
        "feature": Feature(dictionary="d", index=index),
        "group": "drawn",
        "truth": Truth(concept=f"concept {index}", kind="object"),
        "answer": Answer(name=None),
    }
    return Cell(**given | more)


def named(condition: str, index: int, *, right: bool, **more: Any) -> Cell:
    """One that is named, rightly or wrongly. ``more`` are fields of the answer."""
    name = f"concept {index}" if right else f"wrong {index}"
    given: dict[str, Any] = {"name": name, "images": 100}
    answer = Answer(**given | more)
    return cell(condition, index, answer=answer, grade=Grade(labels=right, exact=right, synonym=right))


def failed(condition: str, index: int) -> Cell:
    """One whose search broke off."""
    return cell(condition, index, answer=Answer(name=None, verdict="failed", code="llm", images=7))


def judged(auprc: float, *, correlation: float = 0.5, shift: float = 1.0) -> Judged:
    """Figures of a name; ``shift``: of its 20 activations against those of 101 control images."""
    shown = (np.arange(20) / 10 + shift).astype(np.float32)
    rest = (np.arange(101) / 100).astype(np.float32)
    recall = Recall(
        auprc=auprc, f1=0.6, iou=0.4, correlation=correlation, auroc=0.9, positives=30, images=600
    )
    return Judged(
        cosy=score_explanation(shown, rest, threshold=0.5), recall=recall, specificity=0.9, optimism=0.01
    )


def steps(*tried: tuple[int, str | None]) -> tuple[Step, ...]:
    """Steps by the images charged up to them and the name in force then."""
    return tuple(Step(text="x", score=None, charged=charged, best=best) for charged, best in tried)


def cost(calls: int, tokens: int | None, usd: float | None) -> Cost:
    """What an answer used, in two seconds."""
    return Cost(llm_calls=calls, prompt_tokens=tokens, completion_tokens=5, usd=usd, seconds=2.0)
