"""Any OpenAI-compatible endpoint, over chat.completions alone: the one call that all of them speak.

Replies come back as text with what they cost; whether the text makes sense is the caller's to judge. Retries
live in the SDK and nowhere else. Importing this module imports no openai.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from agent.budget import Usage
from agent.llm_post import Line, explained
from agent.llm_reading import Hear
from agent.llm_said import Said, ToolCall
from agent.llm_ways import MODES, Asked, Mode, Refused, Way, WayMemory, next_way
from agent.llm_wire import (
    blinded,
    response_format,
    shows_pictures,
    shrunk,
    stream_options,
    wire_of,
)
from agent.prices import Price, usage_of
from agent.prompting import Message
from sae.feature import Frozen
from tools.digest import digest
from tools.errors import DependencyError

if TYPE_CHECKING:
    from openai import OpenAI

__all__ = ["MODES", "Chat", "Endpoint", "Hear", "Mode", "Reply", "ToolCall", "ToolReply"]

Wire = list[dict[str, Any]]
"""Messages as chat.completions writes them."""


class Endpoint(Frozen):
    """Where to ask, and how patiently."""

    model: str
    base_url: str | None = None
    """None: OpenAI's own."""
    sees: bool = False
    """Whether the model takes images."""
    price: Price | None = None
    timeout_s: float = 60.0
    """For a whole reply, each try."""
    retries: int = 2
    max_reply_bytes: int = 1_000_000
    image_side: int = 512
    """Pixels a picture has at most in either direction when it is sent."""
    streams: bool = True
    """Whether a reply that somebody listens to is asked for as a stream."""

    @property
    def told(self) -> str:
        """The model and where it is, for people."""
        return f"{self.model} at {self.base_url or 'api.openai.com'}"


class Reply(NamedTuple):
    """What came back."""

    text: str
    usage: Usage
    mode: Mode
    seconds: float
    fault: str | None = None
    """Why the text cannot be relied on, if there is any: too long, of the wrong shape, refused, cut off."""
    blind: bool = False
    """True where the endpoint refuses pictures, and those of the messages were left out."""


class ToolReply(NamedTuple):
    """What came back from a turn with tools: text, calls, or both."""

    text: str
    calls: tuple[ToolCall, ...]
    usage: Usage
    seconds: float
    fault: str | None = None
    """Why the reply cannot be relied on."""


class _Exchange(NamedTuple):
    said: Said
    way: Way
    usage: Usage
    seconds: float
    blind: bool


class Chat:
    """One endpoint; remembers for the process, and in ``memory`` for others, how it wants to be asked."""

    _ways: ClassVar[dict[tuple[str | None, str], Way]] = {}

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        api_key: str,
        png: Callable[[str], bytes] | None = None,
        memory: WayMemory | None = None,
    ) -> None:
        """``png``: image id to the bytes of a picture; needed where the endpoint ``sees``."""
        self.endpoint, self._api_key, self._memory = endpoint, api_key, memory
        self._png = png if endpoint.sees else None
        self._client: OpenAI | None = None

    @property
    def name(self) -> str:
        """Kind and model, as shown with a result."""
        return f"openai:{self.endpoint.model}"

    @property
    def fingerprint(self) -> str:
        """Digest of what determines a reply, but for the messages."""
        told = self.endpoint
        side = told.image_side if self._png is not None else None
        return digest(model=told.model, where=told.base_url, image_side=side)

    @property
    def sees(self) -> bool:
        """Whether pictures are sent with the messages that have some."""
        return self._png is not None

    def ask(self, messages: Sequence[Message], schema: dict[str, Any], *, hear: Hear | None = None) -> Reply:
        """One exchange; ``hear`` gets the text in pieces while it comes.

        DependencyError in one sentence when the endpoint gives no answer at all.
        """
        done = self._exchange(
            lambda sees: wire_of(messages, png=self._png if sees else None, side=self.endpoint.image_side),
            lambda way: response_format(way.mode, schema),
            hear=hear,
        )
        fault = done.said.fault or (None if done.said.text.strip() else "the reply holds no text")
        return Reply(done.said.text, done.usage, done.way.mode, done.seconds, fault, done.blind)

    def tools_turn(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        *,
        hear: Hear | None = None,
    ) -> ToolReply:
        """One exchange in which the model may call tools, both as chat.completions writes them.

        DependencyError in one sentence when the endpoint gives no answer at all, or takes no tools.
        """
        wire = shrunk(messages, side=self.endpoint.image_side)
        extra = {"tools": list(tools)} if tools else {}
        done = self._exchange(lambda sees: wire if sees else blinded(wire), lambda way: extra, hear=hear)
        return ToolReply(done.said.text, done.said.calls, done.usage, done.seconds, done.said.fault)

    @classmethod
    def forget_modes(cls) -> None:
        """Probe every endpoint anew, but for what a memory holds."""
        cls._ways.clear()

    def _exchange(
        self,
        wire: Callable[[bool], Wire],
        extra: Callable[[Way], dict[str, Any]],
        *,
        hear: Hear | None,
    ) -> _Exchange:
        """``wire``: the messages, with their pictures or without; ``extra``: the rest, for a way."""
        started, way = time.monotonic(), self._way()
        heard = hear is not None and self.endpoint.streams
        pictures = shows_pictures(wire(True))
        while True:
            request = {
                "model": self.endpoint.model,
                "messages": wire(way.sees),
                **extra(way),
                **stream_options(way, heard=heard),
            }
            asked = Asked("response_format" in request, "stream" in request, pictures and way.sees)
            said = self._said(request, hear)
            if isinstance(said, Said):
                break
            lesser = next_way(way, said, asked=asked)
            if lesser is None:
                raise DependencyError(explained(said, name=self.endpoint.told, tools="tools" in request))
            way = lesser
        self._keep(way)
        usage = usage_of(said.counts, self.endpoint.price)
        return _Exchange(said, way, usage, time.monotonic() - started, pictures and not way.sees)

    def _said(self, request: dict[str, Any], hear: Hear | None) -> Said | Refused:
        """What came back; a refusal also where it came as a reply (200) of its own."""
        try:
            said = self._line.post(request, hear=hear)
        except Refused as refusal:
            return refusal
        failure = said.failure
        if failure is not None and not said.text and failure.status >= 400:
            return Refused(failure.status, failure.message)
        return said

    @property
    def _line(self) -> Line:
        told = self.endpoint
        return Line(self._sdk, told.told, told.timeout_s, told.retries, told.max_reply_bytes)

    def _sdk(self) -> OpenAI:
        if self._client is None:
            from openai import OpenAI

            endpoint = self.endpoint
            self._client = OpenAI(
                api_key=self._api_key,
                base_url=endpoint.base_url,
                timeout=endpoint.timeout_s,
                max_retries=endpoint.retries,
            )
            # A worker goes through many: each hangs up once nobody holds it.
            weakref.finalize(self, self._client.close).atexit = False
        return self._client

    def _way(self) -> Way:
        where = (self.endpoint.base_url, self.endpoint.model)
        if where not in self._ways:
            held = self._memory.recall(*where) if self._memory is not None else None
            self._ways[where] = held or Way()
        return self._ways[where]

    def _keep(self, way: Way) -> None:
        where = (self.endpoint.base_url, self.endpoint.model)
        if self._ways.get(where) == way:
            return
        self._ways[where] = way
        if self._memory is not None:
            self._memory.remember(*where, way=way)
