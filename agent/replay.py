"""A recorded conversation with an LLM as a file, and the LLM that answers from it without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import Field

from agent.llm import Endpoint, Hear, Reply
from agent.openai_proposer import told_messages
from agent.prices import Price
from agent.prompting import Message
from agent.proposer import LlmCall
from agent.request import RunSettings
from sae.feature import Frozen
from sae.whole_file import whole_file
from tools.digest import digest
from tools.errors import UsageError

_R = TypeVar("_R")
SCHEMA = 1
_SHOWN = 60
"""Characters of a difference that are told."""


class Heading(Frozen):
    """The first line of the file: which run it was."""

    type: str = Field(default="conversation", pattern="^conversation$")
    version: int = Field(default=SCHEMA, alias="schema", le=SCHEMA)
    run: str
    feature: str
    proposer: str
    settings: RunSettings


class Conversation(NamedTuple):
    """All exchanges of a run, oldest first."""

    heading: Heading
    calls: tuple[LlmCall, ...]


def write_conversation(conversation: Conversation, path: Path) -> None:
    """A line for the run and one for each exchange, written in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    heading = conversation.heading.model_dump(mode="json", by_alias=True)
    rows = [{"type": "exchange", **call.model_dump(mode="json")} for call in conversation.calls]
    with whole_file(path) as partial:
        lines = (json.dumps(row, ensure_ascii=False) for row in (heading, *rows))
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_conversation(path: Path) -> Conversation:
    """The conversation in a file; UsageError where it is none."""
    try:
        first, *lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read as a recorded conversation ({error}); correct it."
        ) from error
    heading = _line(Heading.model_validate_json, first, path=path, number=1)
    told = [(number, line) for number, line in enumerate(lines, start=2) if line.strip()]
    calls = [_line(_call, line, path=path, number=number) for number, line in told]
    if not calls:
        raise UsageError(f"{path} holds no exchange with an LLM: there is nothing to replay.")
    return Conversation(heading, tuple(calls))


def _line(read: Callable[[str], _R], line: str, *, path: Path, number: int) -> _R:
    try:
        return read(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} holds something else than a recorded conversation in line {number}; write it with "
            "namesae trace RUN --conversation FILE."
        ) from error


def distinct(calls: Iterable[LlmCall]) -> tuple[LlmCall, ...]:
    """The exchanges, each once: what the ledger answered again was said only once."""
    return tuple(dict.fromkeys(call.model_copy(update={"recorded": False}) for call in calls))


class ReplayChat:
    """Answers from a conversation: the exchange with the same messages, whatever its place.

    Messages that were never asked are a UsageError that says where they part from the recorded ones.
    """

    def __init__(self, conversation: Conversation, *, source: Path) -> None:
        self._calls, self._source = conversation.calls, source
        self._used: set[int] = set()
        model = conversation.calls[0].model
        # What was paid is in the file; replaying costs nothing that would have to be priced.
        self.endpoint = Endpoint(model=model, price=Price(prompt=0.0, completion=0.0))
        self.name = f"replay:{model}"
        self.fingerprint = digest(replay=[call.model_dump(mode="json") for call in conversation.calls])
        self.sees = any(call.blind or _has_pictures(call) for call in conversation.calls)

    def ask(self, messages: Sequence[Message], schema: dict[str, Any], *, hear: Hear | None = None) -> Reply:
        """The recorded reply to these messages."""
        at = self._find(messages)
        if at is None:
            raise UsageError(self._parting(messages))
        self._used.add(at)
        call = self._calls[at]
        if hear is not None:
            hear(call.reply)
        usage = call.usage.model_copy(update={"by_node": ()})
        return Reply(call.reply, usage, _mode(call), call.seconds, call.fault, call.blind)

    def _find(self, messages: Sequence[Message]) -> int | None:
        """The first unused exchange with these messages, sooner one that could be used; else a used one."""
        told = {blind: told_messages(messages, blind=blind) for blind in (False, True)}
        same = [at for at, call in enumerate(self._calls) if call.messages == told[call.blind]]
        order = sorted(same, key=lambda at: (at in self._used, self._calls[at].fault is not None, at))
        return order[0] if order else None

    def _parting(self, messages: Sequence[Message]) -> str:
        left = [at for at in range(len(self._calls)) if at not in self._used]
        remedy = "replay with the dictionary, settings and version of the recording"
        if not left:
            return (
                f"All {len(self._calls)} exchanges of {self._source} are used and the run asks on; {remedy}."
            )
        call = self._calls[left[0]]
        where = _difference(call.messages, told_messages(messages, blind=call.blind))
        return f"Exchange {left[0] + 1} of {self._source} is about something else: {where}; {remedy}."


def _difference(recorded: Sequence[tuple[str, str]], asked: Sequence[tuple[str, str]]) -> str:
    """The first place in which two lists of messages differ."""
    if len(recorded) != len(asked):
        return f"it has {len(recorded)} messages, and the run asks with {len(asked)}"
    pairs = zip(recorded, asked, strict=True)
    number, (then, now) = next((at, pair) for at, pair in enumerate(pairs, start=1) if pair[0] != pair[1])
    if then[0] != now[0]:
        return f"message {number} is of role {then[0]!r}, and the run asks as {now[0]!r}"
    before, after = then[1].splitlines(), now[1].splitlines()
    both = min(len(before), len(after))
    line = next((at for at in range(both) if before[at] != after[at]), both)
    told = [repr(each[line][:_SHOWN]) if line < len(each) else "nothing" for each in (before, after)]
    return f"message {number} ({then[0]}), line {line + 1}, says {told[0]}, and the run says {told[1]}"


def _has_pictures(call: LlmCall) -> bool:
    return any(line.startswith("image:") for _, text in call.messages for line in text.splitlines()[-1:])


def _mode(call: LlmCall) -> Any:
    return call.mode


def _call(line: str) -> LlmCall:
    told = json.loads(line)
    if not isinstance(told, dict) or told.pop("type", None) != "exchange":
        raise ValueError("no exchange")
    return LlmCall.model_validate(told)
