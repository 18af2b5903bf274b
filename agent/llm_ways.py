"""How one endpoint wants to be asked: found by asking, kept for the process and, in Redis, for a week."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from pydantic import ValidationError

from sae.feature import Frozen
from tools import keys
from tools.digest import digest

if TYPE_CHECKING:
    import redis

Mode = Literal["json_schema", "json_object", "prompt"]
MODES: tuple[Mode, ...] = ("json_schema", "json_object", "prompt")
"""How an endpoint is told to answer in JSON, best first."""
REFUSALS = frozenset({400, 404, 415, 422, 501})
"""Statuses of an endpoint that does not know a mode; 404 also of one that does not know the model."""
REMEMBERED_S = 7 * 24 * 3600
"""After a week an endpoint is probed anew: servers learn."""

_FORMAT = ("response_format", "json_schema", "json_object")
_PICTURES = ("image", "vision", "multimodal", "multi-modal", "content must be a string")


class Way(Frozen):
    """A way of asking; the default is the best, and each refusal takes something away."""

    mode: Mode = MODES[0]
    streams: bool = True
    counted: bool = True
    """Whether a stream may be asked for its usage (stream_options)."""
    sees: bool = True
    """Whether pictures may be sent."""


class Asked(NamedTuple):
    """What a refused request had in it."""

    formatted: bool
    """A response_format."""
    streamed: bool
    pictures: bool


class Refused(Exception):
    """The endpoint answered with an error status, or with an error instead of a reply."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def next_way(way: Way, refusal: Refused, *, asked: Asked) -> Way | None:
    """What to try after a refusal; None when nothing is left that the endpoint may have minded."""
    said = refusal.message.lower()
    if asked.pictures and _minds_pictures(refusal.status, said):
        return way.model_copy(update={"sees": False})
    if refusal.status not in REFUSALS:
        return None
    if asked.streamed and (lesser := _minds_stream(way, said)) is not None:
        return lesser
    if asked.formatted and way.mode != MODES[-1]:
        return way.model_copy(update={"mode": MODES[MODES.index(way.mode) + 1]})
    if asked.streamed and refusal.status != 404:
        # Nobody said what was wrong: once more from the beginning, without a stream.
        return way.model_copy(update={"streams": False, "mode": MODES[0]})
    return None


def _minds_pictures(status: int, said: str) -> bool:
    if any(word in said for word in _FORMAT):
        return False
    # llama.cpp answers 500 where the model has no eyes.
    return status == 415 or (status in REFUSALS | {500} and any(word in said for word in _PICTURES))


def _minds_stream(way: Way, said: str) -> Way | None:
    if any(word in said for word in _FORMAT):
        return None
    if way.counted and ("stream_options" in said or "include_usage" in said):
        return way.model_copy(update={"counted": False})
    return way.model_copy(update={"streams": False}) if "stream" in said else None


class WayMemory:
    """The ways of endpoints in Redis, for a week each."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def recall(self, base_url: str | None, model: str) -> Way | None:
        """The way that worked last; None where there is none, or another version wrote it."""
        held = cast("bytes | None", self._client.get(_key(base_url, model)))
        try:
            return None if held is None else Way.model_validate_json(held)
        except ValidationError:
            return None

    def remember(self, base_url: str | None, model: str, *, way: Way) -> None:
        """The way that works now."""
        self._client.set(_key(base_url, model), way.model_dump_json(), ex=REMEMBERED_S)


def _key(base_url: str | None, model: str) -> str:
    # A digest, because an address may hold a password.
    return keys.endpoint(digest(base_url=base_url, model=model))
