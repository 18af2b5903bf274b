"""What a conversation tells the LLM: the words of prompts/ask.md, and short notes. Pure functions."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from string import Template

from agent.budget import Limit, Limits
from agent.prompting import MAX_WORDS, quoted
from sae.feature import Feature
from tools.protocols import GeneratorCard

LIMITS: dict[Limit, str] = {
    "images": "pictures",
    "rounds": "turns",
    "seconds": "time",
    "llm_calls": "LLM calls",
    "tokens": "tokens",
    "usd": "money",
}


def system(feature: Feature, card: GeneratorCard, *, limits: Limits, sees: bool) -> str:
    """The system message; the same through all turns of a question."""
    calls = "as many turns as you need" if limits.llm_calls is None else f"{limits.llm_calls} turns"
    return Template(_words()).substitute(
        feature=quoted(str(feature)),
        images=f"{limits.images} pictures",
        calls=calls,
        generator=quoted(card.generator),
        size=card.size,
        draws=quoted(card.draws, limit=400),
        vocabulary=_vocabulary(card),
        sight=_SEES if sees else _BLIND,
    )


def answer_now(limit: Limit) -> str:
    """The note that a limit leaves room for the answer alone."""
    return (
        f"The limit of {LIMITS[limit]} is reached: no other tool will be run. Call answer now, "
        "from what has been measured."
    )


def nudge(fault: str) -> str:
    """The note after a reply that was neither a tool call nor an answer."""
    return f"Your reply could not be used: {fault}. Call a tool, or call answer with its text and cites."


def shown(ids: list[str]) -> str:
    """What stands before pictures that a tool has shown."""
    return f"These are the pictures {', '.join(ids)}, in order."


def _vocabulary(card: GeneratorCard) -> str:
    words = card.vocabulary
    if words is None:
        return "It knows ordinary English."
    more = f" and {len(words) - MAX_WORDS} more" if len(words) > MAX_WORDS else ""
    return f"It knows only these words: {', '.join(words[:MAX_WORDS])}{more}."


@cache
def _words() -> str:
    text = files("agent").joinpath("prompts", "ask.md").read_text(encoding="utf-8")
    return text.partition("\n\n")[2]


_SEES = "The pictures that a tool returns follow its result.\n"
_BLIND = "You are shown no pictures, only what was measured on them and the words that stand for them.\n"
