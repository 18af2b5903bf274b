"""How a cell came out, in one word and one sign."""

from __future__ import annotations

from typing import Literal

from evals.cell import Cell

Result = Literal["right", "wrong", "abstained", "failed", "ungraded", "not run"]
SIGNS: dict[Result, str] = {
    "right": "✓",
    "wrong": "✗",
    "abstained": "○",
    "failed": "!",
    "ungraded": "·",
    "not run": "",
}


def result_of(cell: Cell | None) -> Result:
    """A failure is no abstention, and a name that cannot be graded is neither right nor wrong."""
    if cell is None:
        return "not run"
    answer = cell.answer
    if answer.failed:
        return "failed"
    if answer.name is None or (_nothing_there(cell) and not answer.claims):
        return "abstained"
    if _nothing_there(cell):
        return "wrong"
    return "ungraded" if cell.grade.right is None else "right" if cell.grade.right else "wrong"


def rightly(cell: Cell | None) -> bool:
    """Whether the answer is the best there is: a right name, none where nothing coherent is there, or that
    the generator does not show what is there.
    """
    result = result_of(cell)
    return result == "right" or (result == "abstained" and cell is not None and _need_not_be_named(cell))


def is_weak(cell: Cell) -> bool:
    """Whether there is a name that is not put forward."""
    return cell.answer.name is not None and not cell.answer.claims


def _need_not_be_named(cell: Cell) -> bool:
    undrawable = cell.truth is not None and cell.truth.kind == "undrawable"
    return _nothing_there(cell) or (undrawable and cell.answer.verdict == "unrenderable")


def _nothing_there(cell: Cell) -> bool:
    return cell.truth is not None and cell.truth.concept == ""
