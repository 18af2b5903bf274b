"""What a conversation about a feature is made of: what was said, and the answers. Imports no torch."""

from __future__ import annotations

from typing import Literal

from agent.budget import Limit
from agent.records import Cost, ImageCount
from agent.tool_results import Figure, Picture
from sae.feature import Feature, Frozen


class Call(Frozen):
    """A tool that the LLM wants called."""

    id: str
    """Ours: servers give ids that are empty, or twice the same."""
    name: str
    arguments: str
    """As the LLM wrote them."""


class Said(Frozen):
    """One message of a conversation."""

    role: Literal["user", "assistant", "tool"]
    text: str
    calls: tuple[Call, ...] = ()
    """Of an assistant's message."""
    call: str | None = None
    """Id of the call that a tool's message answers."""
    pictures: tuple[str, ...] = ()
    """sha256 of the pictures that follow the text, for an LLM that sees."""


class Citation(Frozen):
    """What an answer points to: one picture or one figure that a tool really showed."""

    picture: Picture | None = None
    figure: Figure | None = None

    @property
    def id(self) -> str:
        """img-3 or fig-7."""
        cited = self.picture or self.figure
        return cited.id if cited else ""


class AskAnswer(Frozen):
    """The answer to one question, or why there is none."""

    thread: str
    """Of the conversation: a follow-up names it."""
    feature: Feature
    question: str
    text: str | None
    """None where it failed."""
    cites: tuple[Citation, ...] = ()
    unmeasured: tuple[str, ...] = ()
    """Numbers in the text that no tool measured, as written there."""
    code: str | None = None
    """Why it failed: invented_citation, no_citation, bad_answer, no_answer, bad_reply or limit_..."""
    why: str | None = None
    """The same in a sentence."""
    limit: Limit | None = None
    """The limit that made the answer due, if one did."""
    images: ImageCount = ImageCount()
    cost: Cost = Cost()
    model: str
    created: str = ""
    """ISO 8601, UTC."""
    stored: bool = False
    """True when the answer was found, not given now."""


class Conversation(Frozen):
    """All of a conversation so far."""

    thread: str
    feature: Feature
    answers: tuple[AskAnswer, ...]
    """Oldest first."""
    pictures: tuple[Picture, ...] = ()
    """All that the tools showed."""
    figures: tuple[Figure, ...] = ()
    said: tuple[Said, ...] = ()

    @property
    def answer(self) -> AskAnswer:
        """The last one."""
        return self.answers[-1]
