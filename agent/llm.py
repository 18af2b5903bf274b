"""Any OpenAI-compatible endpoint, over chat.completions alone: the one call that all of them speak.

Replies come back as text with what they cost; whether the text makes sense is the caller's to judge. Retries
live in the SDK and nowhere else. Importing this module imports no openai.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from agent.budget import Usage
from agent.prices import Price, dollars
from agent.prompting import Message
from sae.feature import Frozen
from tools.errors import DependencyError

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAI

Mode = Literal["json_schema", "json_object", "prompt"]
MODES: tuple[Mode, ...] = ("json_schema", "json_object", "prompt")
"""How an endpoint is told to answer in JSON, best first."""
REFUSALS = frozenset({400, 404, 415, 422, 501})
"""Statuses of an endpoint that does not know a mode; 404 also of one that does not know the model."""
CHUNK = 65536


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


class Reply(NamedTuple):
    """What came back."""

    text: str
    usage: Usage
    mode: Mode
    seconds: float
    fault: str | None = None
    """Why there is no usable text: too long, of the wrong shape, refused, cut off."""


class Chat:
    """One endpoint; remembers for the process which mode it understands."""

    _modes: ClassVar[dict[tuple[str | None, str], Mode]] = {}

    def __init__(
        self, endpoint: Endpoint, *, api_key: str, png: Callable[[str], bytes] | None = None
    ) -> None:
        """``png``: image id to PNG bytes; needed where the endpoint ``sees``."""
        self.endpoint, self._api_key, self._png = endpoint, api_key, png
        self._client: OpenAI | None = None

    def ask(self, messages: Sequence[Message], schema: dict[str, Any]) -> Reply:
        """One exchange. DependencyError in one sentence when the endpoint gives no answer at all."""
        from openai import APIStatusError

        key = (self.endpoint.base_url, self.endpoint.model)
        modes = MODES[MODES.index(self._modes[key]) :] if key in self._modes else MODES
        for mode in modes:
            try:
                reply = self._exchange(messages, schema, mode=mode)
            except APIStatusError as error:
                if error.status_code in REFUSALS and mode != MODES[-1]:
                    continue
                raise DependencyError(self._explained(error)) from error
            self._modes[key] = mode
            return reply
        raise AssertionError("the last mode answers or raises")

    @classmethod
    def forget_modes(cls) -> None:
        """Probe every endpoint anew."""
        cls._modes.clear()

    def _exchange(self, messages: Sequence[Message], schema: dict[str, Any], *, mode: Mode) -> Reply:
        from openai import APIConnectionError, APITimeoutError

        started = time.monotonic()
        try:
            body = self._post(messages, schema, mode=mode)
        except APITimeoutError as error:
            raise DependencyError(self._silent()) from error
        except APIConnectionError as error:
            raise DependencyError(
                f"The LLM at {self._where} could not be reached; check OPENAI_BASE_URL and the network, then "
                "repeat the command to continue the run."
            ) from error
        seconds = time.monotonic() - started
        if body is None:
            most = self.endpoint.max_reply_bytes
            return Reply("", _UNKNOWN, mode, seconds, fault=f"the reply is longer than {most:,} bytes")
        return self._read(body, mode, seconds=seconds)

    def _post(self, messages: Sequence[Message], schema: dict[str, Any], *, mode: Mode) -> bytes | None:
        """The body of the reply; None when it is longer than allowed. It is read no further than that."""
        import httpx2

        request: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": [self._wire(m) for m in messages],
        }
        if mode != "prompt":
            request["response_format"] = _response_format(mode, schema)
        deadline = time.monotonic() + self.endpoint.timeout_s * (self.endpoint.retries + 1)
        body = b""
        create = self._sdk().chat.completions.with_streaming_response.create
        with create(**request) as response:
            try:
                for chunk in response.iter_bytes(CHUNK):
                    body += chunk
                    if len(body) > self.endpoint.max_reply_bytes:
                        return None
                    if time.monotonic() > deadline:
                        raise DependencyError(self._silent())
            except httpx2.HTTPError as error:
                raise DependencyError(self._silent()) from error
        return body

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
        return self._client

    def _wire(self, message: Message) -> dict[str, Any]:
        if not message.images or self._png is None:
            return {"role": message.role, "content": message.text}
        parts: list[dict[str, Any]] = [{"type": "text", "text": message.text}]
        for image in message.images:
            data = base64.b64encode(self._png(image)).decode()
            parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
        return {"role": message.role, "content": parts}

    def _read(self, body: bytes, mode: Mode, *, seconds: float) -> Reply:
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            return Reply("", _UNKNOWN, mode, seconds, fault="the reply is not a chat completion")
        usage = self._usage(told)
        try:
            choice = told["choices"][0]
            text, finish = choice["message"]["content"], choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            return Reply("", usage, mode, seconds, fault="the reply is not a chat completion")
        if not isinstance(text, str) or not text.strip():
            return Reply("", usage, mode, seconds, fault="the reply holds no text")
        cut = "the reply was cut off at its token limit" if finish == "length" else None
        return Reply(text, usage, mode, seconds, fault=cut)

    def _usage(self, told: object) -> Usage:
        counts = told.get("usage") if isinstance(told, dict) else None
        counts = counts if isinstance(counts, dict) else {}
        usage = Usage(
            calls=1,
            prompt_tokens=_count(counts.get("prompt_tokens")),
            completion_tokens=_count(counts.get("completion_tokens")),
        )
        return usage.model_copy(update={"usd": dollars(usage, self.endpoint.price)})

    @property
    def _where(self) -> str:
        return self.endpoint.base_url or "api.openai.com"

    def _silent(self) -> str:
        return (
            f"The LLM {self.endpoint.model} at {self._where} gave no whole answer within "
            f"{self.endpoint.timeout_s:g} s; repeat the command to continue the run."
        )

    def _explained(self, error: APIStatusError) -> str:
        status = error.status_code
        remedy = _REMEDIES.get(status, "repeat the command to continue the run")
        return f"The LLM {self.endpoint.model} at {self._where} answered with status {status}; {remedy}."


_UNKNOWN = Usage(calls=1, prompt_tokens=None, completion_tokens=None, usd=None)
_REMEDIES = {
    400: "the model may not take these messages: choose another with OPENAI_MODEL, then continue the run",
    401: "correct OPENAI_API_KEY, then repeat the command to continue the run",
    403: "the key may not use this model: choose another with OPENAI_MODEL, then continue the run",
    404: "correct OPENAI_BASE_URL or OPENAI_MODEL, then continue the run",
    429: "the account is at its limit: wait or raise it, then repeat the command to continue the run",
}


def _count(told: object) -> int | None:
    return told if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else None


def _response_format(mode: Mode, schema: dict[str, Any]) -> dict[str, Any]:
    if mode == "json_object":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "plan", "strict": True, "schema": schema}}
