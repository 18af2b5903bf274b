"""The conditions of a report in the order it shows them: ours and its rivals by accuracy, controls last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from evals.conditions import WITHOUT
from evals.figure_text import finite
from evals.scoreboard import Row, Scoreboard

Role = Literal["ours", "rival", "control"]
CONTROLS = frozenset({"random", "shuffled", "constant", "untrained", "true"})
"""Conditions that bound what a figure can mean and compete with nobody."""
EVERYTHING = "all"
"""The group of all features."""
OURS = "agent"
"""What is ours where nothing is compared."""


class Contender(NamedTuple):
    """A condition with its figures over all features."""

    condition: str
    title: str
    role: Role
    row: Row


def is_ablated(condition: str) -> bool:
    """Whether it is the agent without one of its parts, compared with the whole one."""
    return condition.startswith(WITHOUT)


def is_variant(condition: str) -> bool:
    """Whether it is the agent in another way of use: no rival of it either."""
    return condition.startswith(f"{OURS}-")


def ours_of(board: Scoreboard) -> str:
    """The condition the others are compared with."""
    return board.differences[0].ours if board.differences else OURS


def role_of(condition: str, ours: str) -> Role:
    if condition == ours:
        return "ours"
    return "control" if condition in CONTROLS else "rival"


def contenders(board: Scoreboard) -> tuple[Contender, ...]:
    """Every condition that has a row over all features, best accuracy first and controls last."""
    return tuple(
        Contender(row.condition, row.title, role_of(row.condition, ours_of(board)), row)
        for row in in_order(board, EVERYTHING)
    )


def in_order(board: Scoreboard, group: str) -> list[Row]:
    """The rows of one group, best accuracy first and controls last; ties by title."""
    rows = [row for row in board.rows if row.group == group]
    return sorted(rows, key=_standing)


def _standing(row: Row) -> tuple[bool, float, float, str]:
    accuracy, auroc = finite(row.accuracy.value), finite(row.auroc.value)
    return (
        row.condition in CONTROLS,
        1.0 if accuracy is None else -accuracy,
        1.0 if auroc is None else -auroc,
        row.title,
    )


def rivals(shown: Sequence[Contender]) -> tuple[Contender, ...]:
    """Those that compete with ours, strongest first."""
    return tuple(each for each in shown if each.role == "rival")


def groups_of(board: Scoreboard) -> tuple[str, ...]:
    """The groups in the order of the board, all features first."""
    found = dict.fromkeys(row.group for row in board.rows)
    return tuple(sorted(found, key=lambda group: group != EVERYTHING))
