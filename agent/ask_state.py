"""What a conversation remembers between nodes. Every type is concrete, so a checkpoint can rebuild it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from agent.ask_llm import Speaker
from agent.ask_records import AskAnswer, Call, Said
from agent.budget import Limit, Limits, Spent
from agent.tool_kit import LatestName, no_name
from agent.tool_results import Figure, Picture
from agent.toolbox import Toolbox
from sae.feature import Feature

SCHEMA = 1


class AskState(TypedDict, total=False):
    """The graph's state: what nodes return replaces what was there."""

    schema: int
    thread: str
    feature: Feature
    seed: int
    said: tuple[Said, ...]
    pictures: tuple[Picture, ...]
    figures: tuple[Figure, ...]
    answers: tuple[AskAnswer, ...]
    question: str
    """From here on: of the question in hand."""
    limits: Limits
    spent: Spent
    drawn: int
    calls: tuple[Call, ...]
    """Wanted by the LLM, not yet made."""
    due: Limit | None
    """The limit that lets the LLM answer and do nothing else."""
    slips: int
    """Replies that were neither a call nor an answer."""
    repairs: int
    """Answers that were sent back."""
    code: str | None
    """Why there is no answer."""
    why: str | None
    ended: bool
    """Whether the question in hand has its answer, or the reason why there is none."""


@dataclass(frozen=True)
class AskDesk:
    """What the nodes work with, injected."""

    toolbox: Toolbox
    speaker: Speaker
    latest_name: LatestName = no_name


OpenDesk = Callable[[str], AskDesk]
"""Thread to tools; called only when there is work to do."""
