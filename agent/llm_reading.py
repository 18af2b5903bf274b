"""What an endpoint sent, as it comes: a chat completion in one piece, or a stream of server-sent events.

Whatever stands there instead is a fault, never an error, and is read no further than the limit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from agent.llm_said import NO_COMPLETION, Said, Saying

Hear = Callable[[str], None]
"""Hears a piece of the text when it comes."""

RAW_PER_BYTE = 64
"""Bytes of a stream that may be spent on one byte of its text: each word is wrapped in a record."""
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")
_SNIFFED = 8
"""Bytes after which it is clear which of the two it is."""


class Limit(NamedTuple):
    """How much is read."""

    text: int
    """Bytes of text, of one line, and of a reply in one piece."""

    @property
    def raw(self) -> int:
        """Bytes of a whole stream."""
        return self.text * RAW_PER_BYTE


class Reader:
    """Reads one reply; ``feed`` says when it has had enough."""

    def __init__(self, most: int, *, hear: Hear | None = None) -> None:
        """``most``: bytes."""
        self._limit, self._saying = Limit(most), Saying(hear)
        self._held = b""
        """What was not yet understood: the beginning, an unfinished line, or a whole reply."""
        self._streamed: bool | None = None
        self._raw = 0
        self._too_long = False
        self._events = Events()

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; whether more are wanted."""
        self._raw += len(data)
        self._held += data
        if self._streamed is None:
            self._streamed = _is_stream(self._held)
        if self._streamed:
            self._read_lines()
        most = self._limit.raw if self._streamed else self._limit.text
        self._too_long = (
            self._raw > most or len(self._held) > self._limit.text or self._saying.size > self._limit.text
        )
        return not self._too_long and not self._saying.ended

    def said(self) -> Said:
        """All that was said."""
        if self._too_long:
            return Said(fault=f"the reply is longer than {self._limit.text:,} bytes")
        if not self._streamed:
            return _whole(self._held, self._saying)
        if self._held and not self._saying.ended:
            self._read_line(self._held)
        self._read_line(b"")
        return self._saying.streamed()

    def _read_lines(self) -> None:
        *lines, self._held = self._held.split(b"\n")
        for line in lines:
            if self._saying.ended:
                return
            self._read_line(line)

    def _read_line(self, line: bytes) -> None:
        event = self._events.take(line.rstrip(b"\r"))
        if event is DONE:
            self._saying.end()
        elif event is GARBAGE:
            self._saying.garbled += 1
        elif event is not None:
            self._saying.take(event)


DONE, GARBAGE = object(), object()


class Events:
    """Server-sent events out of lines; an event said twice under one id is one event."""

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._id = b""
        self._seen: set[int] = set()

    def take(self, line: bytes) -> Any:
        """A record, DONE, GARBAGE, or None where the line completes nothing."""
        if not line.strip():
            lost, self._pending, self._id = bool(self._pending), [], b""
            return GARBAGE if lost else None
        field, _, rest = line.partition(b":")
        rest = rest.strip()
        if field == b"id":
            self._id = rest
        if field not in (b"data", b"error"):
            return None
        return DONE if rest == b"[DONE]" else self._record(rest, failed=field == b"error")

    def _record(self, data: bytes, *, failed: bool) -> Any:
        self._pending.append(data)
        record = _loaded(b"\n".join(self._pending))
        if record is None:
            # An event may be written over several lines.
            record = _loaded(data)
        if record is None:
            return None
        self._pending = []
        if self._id:
            mark = hash((self._id, data))
            if mark in self._seen:
                return None
            self._seen.add(mark)
        return {"error": record} if failed else record


def _is_stream(start: bytes) -> bool | None:
    """Whether it is a stream; None while it cannot be told. Content types are often wrong, and not asked."""
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if any(start.startswith(field) for field in _FIELDS):
        return True
    return False if len(start) >= _SNIFFED or start[:1] in (b"{", b"[", b"<") else None


def _whole(body: bytes, saying: Saying) -> Said:
    told = _loaded(body)
    if told is None:
        return Said(fault=NO_COMPLETION)
    saying.take(told, whole=True)
    return saying.whole()


def _loaded(data: bytes) -> Any:
    """The JSON value; None where it is none. (A null is no record either.)"""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
