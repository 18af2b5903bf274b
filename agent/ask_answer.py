"""Whether an answer holds to what was measured: its citations must exist, its numbers are looked up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from agent.ask_records import Citation
from agent.feature_tools import first_fault
from agent.tool_results import Figure, Picture
from sae.feature import Frozen

MAX_ANSWER = 4000
MAX_CITES = 40
KNOWN = (0.0, 0.5, 1.0, 0.95)
"""Numbers that need no source: the firing bar and the level of the intervals among them."""

AnswerFault = Literal["bad_answer", "invented_citation", "no_citation"]

_ID = re.compile(r"\b(?:img|fig)-\d+\b")
_NUMBER = re.compile(r"(?<![\w.-])[-+\u2212]?\d+(?:\.\d+)?(?:\s?%)|(?<![\w.-])[-+\u2212]?\d+\.\d+")


class Cite(Frozen):
    """One citation: the id of a picture or of a figure."""

    image: str | None = Field(default=None, description="Id of a picture, as img-3.")
    figure: str | None = Field(default=None, description="Id of a figure, as fig-7.")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, told: Any) -> Any:
        # Some models write the id alone; what it means is plain.
        if isinstance(told, str):
            return {"image" if told.startswith("img") else "figure": told}
        return told

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.image is None) == (self.figure is None):
            raise ValueError("a citation has either an image or a figure")
        return self

    @property
    def id(self) -> str:
        """Whichever it has."""
        return self.image or self.figure or ""


class AnswerReply(Frozen):
    """What the tool ``answer`` takes."""

    text: str = Field(
        min_length=1, max_length=MAX_ANSWER, description="A few plain sentences, with ids as in [fig-3]."
    )
    cites: tuple[Cite, ...] = Field(max_length=MAX_CITES, description="The ids that the answer stands on.")


class BadAnswerError(ValueError):
    """An answer that cannot stand; the message goes back to the LLM."""

    def __init__(self, code: AnswerFault, why: str) -> None:
        super().__init__(why)
        self.code = code


class Checked(NamedTuple):
    """An answer that stands."""

    text: str
    cites: tuple[Citation, ...]
    unmeasured: tuple[str, ...]


def check_answer(arguments: str, *, pictures: Sequence[Picture], figures: Sequence[Figure]) -> Checked:
    """The answer in a call's arguments, every id of it looked up. BadAnswerError says what is wrong.

    At least one citation is wanted as soon as there is anything to cite.
    """
    try:
        reply = AnswerReply.model_validate_json(arguments)
    except ValidationError as error:
        raise BadAnswerError("bad_answer", f"its arguments are wrong: {first_fault(error)}") from None
    text = "".join(each if each.isprintable() or each == "\n" else " " for each in reply.text).strip()
    if not text:
        raise BadAnswerError("bad_answer", "its text is empty")
    known: dict[str, Citation] = {
        **{each.id: Citation(picture=each) for each in pictures},
        **{each.id: Citation(figure=each) for each in figures},
    }
    cited = list(dict.fromkeys([*(each.id for each in reply.cites), *_ID.findall(text)]))
    _refuse_invented(cited, known)
    if not cited and known:
        raise BadAnswerError("no_citation", "it cites nothing; cite the figures and pictures it stands on")
    unmeasured = tuple(_unmeasured(text, values=_values(pictures, figures)))
    return Checked(text, tuple(known[each] for each in cited), unmeasured)


def answer_schema() -> dict[str, Any]:
    """The JSON schema of the answer's arguments, without references, which some servers do not follow."""
    cite = {
        "type": "object",
        "properties": {
            name: {"type": "string", "description": field.description}
            for name, field in Cite.model_fields.items()
        },
        "additionalProperties": False,
    }
    told = {name: field.description for name, field in AnswerReply.model_fields.items()}
    return {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": told["text"]},
            "cites": {"type": "array", "description": told["cites"], "items": cite},
        },
        "required": ["text", "cites"],
        "additionalProperties": False,
    }


def _refuse_invented(cited: Iterable[str], known: Mapping[str, Citation]) -> None:
    invented = [each for each in cited if each not in known]
    if invented:
        listed = ", ".join(repr(each[:30]) for each in invented[:5])
        have = ", ".join(list(known)[:60]) or "nothing yet"
        raise BadAnswerError("invented_citation", f"no tool has returned {listed}; what can be cited: {have}")


def _values(pictures: Sequence[Picture], figures: Sequence[Figure]) -> list[float]:
    found = [each.activation for each in pictures]
    for each in figures:
        found += [value for value in (each.value, each.low, each.high) if value is not None]
    return [*KNOWN, *found]


def _unmeasured(text: str, *, values: Sequence[float]) -> Iterable[str]:
    """Decimals and percentages of the text that no value rounds to; whole numbers may count anything."""
    for number in dict.fromkeys(_NUMBER.findall(text)):
        digits = number.rstrip("% ").replace("\u2212", "-")
        scale = 100.0 if number.endswith("%") else 1.0
        places = len(digits.partition(".")[2])
        near = 0.5 * 10.0**-places + 1e-9
        told = float(digits)
        if not any(abs(abs(told) - abs(value) * scale) <= near for value in values):
            yield number.strip()
