"""What a conversation says while it works, beside the exchanges with the LLM (agent/events.py)."""

from __future__ import annotations

from typing import Literal

from agent.ask_records import AskAnswer
from agent.budget import Refusal
from agent.tool_results import Figure, Picture
from sae.feature import Frozen


class Questioned(Frozen):
    """A question was asked, or goes on where it was interrupted."""

    kind: Literal["questioned"] = "questioned"
    feature: str
    question: str
    model: str
    resumed: bool
    images: int
    """Limit of pictures for this question."""


class ToolCalled(Frozen):
    """The LLM called a tool."""

    kind: Literal["tool_called"] = "tool_called"
    tool: str
    arguments: str
    """As the LLM wrote them."""
    figures: tuple[Figure, ...] = ()
    """That the result holds."""
    pictures: tuple[Picture, ...] = ()
    not_drawn: tuple[Refusal, ...] = ()
    """Prompts that were not drawn, and why."""
    refused: str | None = None
    """Why nothing was done."""
    images_left: int
    """Pictures that the budget still grants."""


class Answered(Frozen):
    """The answer, or why there is none."""

    kind: Literal["answered"] = "answered"
    answer: AskAnswer
