"""What a model said, put together from one record or from many."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

NO_COMPLETION = "the reply is not a chat completion"
MAX_CALLS = 64
"""Tool calls of one reply that are kept."""
_QUOTED = 200


class ToolCall(NamedTuple):
    """A tool that the model wants called."""

    id: str
    name: str
    arguments: str
    """As the model wrote them: JSON, or what it takes for JSON."""


class Failure(NamedTuple):
    """An error that came where a reply should be."""

    status: int
    """0 where it is not told."""
    message: str


class Said(NamedTuple):
    """A reply without what it cost."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    counts: dict[str, Any] | None = None
    """The usage record, unchecked; None where there is none."""
    fault: str | None = None
    """Why it cannot be relied on; text may stand beside it."""
    failure: Failure | None = None


class _Slot:
    """One tool call while it is written."""

    def __init__(self) -> None:
        self.id, self.name, self.arguments = "", "", ""


class Saying:
    """Takes records one by one."""

    def __init__(self, hear: Callable[[str], None] | None = None) -> None:
        self.garbled = 0
        """Records and lines that were none."""
        self.size = 0
        """Bytes of text and arguments so far."""
        self.ended = False
        self._hear = hear
        self._pieces: list[str] = []
        self._slots: dict[int, _Slot] = {}
        self._counts: dict[str, Any] | None = None
        self._finish: str | None = None
        self._refusal = ""
        self._failure: Failure | None = None
        self._understood = 0

    def end(self) -> None:
        """The stream says that it is over."""
        self.ended = True

    def take(self, record: Any, *, whole: bool = False) -> None:
        """A chat completion (``whole``) or a piece of one; later usage replaces earlier, as it counts all."""
        if not isinstance(record, dict):
            self.garbled += 1
            return
        if record.get("error"):
            self._failure, self.ended = _failure(record["error"]), True
            return
        if isinstance(record.get("usage"), dict):
            self._counts = record["usage"]
            self._understood += not whole
        choices = record.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index") in (0, None):
                self._choice(choice, whole=whole)
        self.garbled += "choices" not in record and "usage" not in record

    def whole(self) -> Said:
        """What was said in one piece."""
        return self._told(self._text())

    def streamed(self) -> Said:
        """What was said in pieces; faults also where the end or some of the pieces are missing."""
        said = self._told(self._text())
        if said.fault is None and not self.ended and self._finish is None:
            return said._replace(fault="the reply broke off before its end")
        if said.fault is None and self.garbled:
            return said._replace(fault=f"{self.garbled} records of the stream could not be read")
        return said

    def _choice(self, choice: dict[str, Any], *, whole: bool) -> None:
        part = choice.get("message") if whole or "delta" not in choice else choice["delta"]
        if not isinstance(part, dict):
            return
        self._understood += 1
        if isinstance(choice.get("finish_reason"), str):
            self._finish = choice["finish_reason"]
        # Some end a stream with all of it once more.
        if whole or "delta" in choice or not self._pieces:
            for text in _texts(part.get("content")):
                self._add(text)
        if isinstance(part.get("refusal"), str):
            self._refusal += part["refusal"]
        wanted = part.get("tool_calls")
        for at, call in enumerate(wanted if isinstance(wanted, list) else ()):
            if isinstance(call, dict):
                self._call({**call, "index": at} if whole else call)

    def _add(self, text: str) -> None:
        self._pieces.append(text)
        self.size += len(text.encode(errors="replace"))
        if self._hear is not None and text:
            self._hear(text.encode(errors="replace").decode())

    def _call(self, call: dict[str, Any]) -> None:
        if len(self._slots) >= MAX_CALLS:
            return
        slot = self._slot(call)
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        slot.id = slot.id or _plain(call.get("id"))
        slot.name = slot.name or _plain(function.get("name"))
        written = function.get("arguments")
        if isinstance(written, dict):
            written = json.dumps(written)
        if isinstance(written, str):
            slot.arguments += written
            self.size += len(written)

    def _slot(self, call: dict[str, Any]) -> _Slot:
        """The call that a piece belongs to: by its index; some give none, or all the same, but other ids."""
        index = call.get("index")
        last = max(self._slots, default=-1)
        fresh = isinstance(call.get("id"), str) and bool(call["id"])
        if not isinstance(index, int) or isinstance(index, bool):
            index = last + 1 if fresh or last < 0 else last
        held = self._slots.get(index)
        if held is not None and fresh and held.id and held.id != call["id"]:
            same = (at for at, slot in self._slots.items() if slot.id == call["id"])
            index = next(same, last + 1)
        return self._slots.setdefault(index, _Slot())

    def _text(self) -> str:
        # Halves of one letter may have come in two pieces; a half without its other is no text.
        joined = "".join(self._pieces)
        return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _told(self, text: str) -> Said:
        calls = tuple(
            ToolCall(slot.id or f"call_{index}", slot.name, slot.arguments.encode(errors="replace").decode())
            for index, slot in sorted(self._slots.items())
            if slot.name
        )
        return Said(text, calls, self._counts, self._fault(text, calls), self._failure)

    def _fault(self, text: str, calls: tuple[ToolCall, ...]) -> str | None:
        if self._failure is not None:
            return f"the endpoint answered with an error: {self._failure.message}"
        if not self._understood:
            return NO_COMPLETION
        if self._finish in _STOPPED:
            return _STOPPED[self._finish]
        if self._refusal and not text.strip():
            return f"the model refused: {self._refusal[:_QUOTED]}"
        return None if text.strip() or calls else "the reply holds no text"


_STOPPED = {
    "length": "the reply was cut off at its token limit",
    "content_filter": "the reply was stopped by the endpoint's filter",
}


def _texts(content: Any) -> Iterator[str]:
    """The text of a message: a string, or parts of which some are text."""
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]


def _failure(error: Any) -> Failure:
    told = error if isinstance(error, dict) else {"message": error}
    inner = told.get("error")
    if isinstance(inner, dict):
        told = inner
    code = told.get("code")
    status = code if isinstance(code, int) and not isinstance(code, bool) else 0
    return Failure(status, " ".join(_plain(told.get("message")).split())[:_QUOTED] or "(no message)")


def _plain(told: Any) -> str:
    return told.encode(errors="replace").decode() if isinstance(told, str) else ""
