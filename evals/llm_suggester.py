"""A suggester that asks an LLM, once a step and without a repair, as the peers do; words in prompts/*.md."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from string import Template
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from agent.plan_reply import BadReplyError, Line, extract_object
from agent.plans import MAX_NAME, MAX_PROMPT
from agent.prompting import MAX_WORDS, Message, quoted
from evals.subject import Chat
from evals.suggester import Goal, Scored, Suggestion, Wish, folded
from sae.feature import Frozen
from tools.digest import digest
from tools.protocols import GeneratorCard

FILES: dict[Goal, str] = {"next": "line", "summary": "line_summary", "more": "mils"}


class ConceptReply(Frozen):
    """One concept."""

    thinking: str
    concept: Line = Field(min_length=1, max_length=MAX_NAME)


class TextsReply(Frozen):
    """Many texts; those that cannot be used are left out."""

    texts: list[Any]


Text = Annotated[Line, Field(min_length=1, max_length=MAX_PROMPT)]
_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_STRING = {"type": "string"}
CONCEPT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"thinking": _STRING, "concept": _STRING},
    "required": ["thinking", "concept"],
    "additionalProperties": False,
}
TEXTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"texts": {"type": "array", "items": _STRING}},
    "required": ["texts"],
    "additionalProperties": False,
}


class LlmSuggester:
    """One message, one reply; implements Suggester. A reply that cannot be used is paid for all the same."""

    def __init__(self, chat: Chat, card: GeneratorCard) -> None:
        self._chat, self._card = chat, card

    def suggest(self, wish: Wish) -> Suggestion:
        """What the LLM answers. DependencyError when the endpoint gives no answer at all."""
        schema = TEXTS_SCHEMA if wish.goal == "more" else CONCEPT_SCHEMA
        reply = self._chat.ask([Message(role="user", text=message(wish, self._card))], schema)
        if reply.fault is not None and not reply.text:
            return Suggestion(usage=reply.usage, fault=reply.fault)
        try:
            texts = _read(reply.text, wish)
        except BadReplyError as error:
            return Suggestion(usage=reply.usage, fault=str(error))
        return Suggestion(texts, reply.usage)


def message(wish: Wish, card: GeneratorCard) -> str:
    """What is asked; every text of the history stands in it as quoted data."""
    return Template(_file(FILES[wish.goal])[1]).substitute(
        scored="\n".join(_scored(wish.history)) or "(nothing yet)",
        forbidden=", ".join(quoted(text) for text in wish.forbidden) or "(nothing yet)",
        wanted=wish.wanted,
        vocabulary=_vocabulary(card),
    )


def versions() -> dict[str, int]:
    """The version of each prompt file."""
    return {name: _file(name)[0] for name in FILES.values()}


def fingerprint() -> str:
    """Digest of all prompt files."""
    return digest(prompts={name: _file(name)[1] for name in FILES.values()})


@cache
def _file(name: str) -> tuple[int, str]:
    text = files("evals").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")
    head, _, body = text.partition("\n\n")
    return int(head.removeprefix("version:")), body


def _scored(history: Iterable[Scored]) -> list[str]:
    return [f"{score:.3f}: {quoted(text)}" for text, score in history]


def _vocabulary(card: GeneratorCard) -> str:
    words = card.vocabulary
    if words is None:
        return "Whatever draws the pictures knows ordinary English."
    more = f" and {len(words) - MAX_WORDS} more" if len(words) > MAX_WORDS else ""
    return f"Whatever draws the pictures knows only these words: {', '.join(words[:MAX_WORDS])}{more}."


def _read(text: str, wish: Wish) -> tuple[str, ...]:
    told = extract_object(text)
    try:
        if wish.goal != "more":
            return (ConceptReply.model_validate(told).concept,)
        listed = TextsReply.model_validate(told).texts
    except ValidationError as error:
        raise BadReplyError(_first_fault(error)) from None
    usable = {folded(each): each for each in map(_usable, listed) if each is not None}
    if not usable:
        raise BadReplyError("no text in it can be drawn")
    return tuple(usable.values())[: wish.wanted]


def _usable(told: Any) -> str | None:
    try:
        return _TEXT.validate_python(told, strict=True)
    except ValidationError:
        return None


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the reply"
    return f"{where}: {first['msg']}"
