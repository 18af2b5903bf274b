"""Batches in Redis: what each was asked for, and what became of its features, whichever process did it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from pydantic import ValidationError

from agent.budget import BatchLimits
from agent.records import Explanation
from namesae.batch_records import BatchAsk, BatchRow
from sae.feature import Frozen
from tools import keys
from tools.errors import IntegrityError

if TYPE_CHECKING:
    import redis

Record = TypeVar("Record", bound=Frozen)
_ASK, _LIMITS, _BEGUN, _DONE = "ask", "limits", "begun", "done:"
"""Explanations are dated to the second."""


class BatchStore:
    """One batch."""

    def __init__(self, client: redis.Redis, batch: str) -> None:
        self._client, self._key, self.batch = client, keys.batch(batch), batch

    def begin(self, ask: BatchAsk, limits: BatchLimits, *, now: float) -> None:
        """Write down what is asked for. The limits are those of the latest call."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.hsetnx(self._key, _ASK, ask.model_dump_json())
            pipe.hsetnx(self._key, _BEGUN, repr(now))
            pipe.hset(self._key, _LIMITS, limits.model_dump_json())
            pipe.zadd(keys.batches(), {self.batch: now})
            pipe.execute()

    @property
    def ask(self) -> BatchAsk | None:
        """None for a batch that was never begun."""
        return self._read(_ASK, BatchAsk)

    @property
    def limits(self) -> BatchLimits | None:
        """Of the latest call."""
        return self._read(_LIMITS, BatchLimits)

    def row(self, index: int) -> BatchRow | None:
        """What became of a feature; None while it has no verdict."""
        return self._read(f"{_DONE}{index}", BatchRow)

    def rows(self, indices: Sequence[int]) -> list[BatchRow]:
        """Of those features that have a verdict."""
        names = [f"{_DONE}{index}" for index in indices]
        held = cast("list[bytes | None]", self._client.hmget(self._key, names)) if names else []
        return [_parsed(told, BatchRow) for told in held if told is not None]

    def done(self, row: BatchRow) -> None:
        """Write down a verdict; the first one stays."""
        self._client.hsetnx(self._key, f"{_DONE}{row.index}", row.model_dump_json())

    def is_older(self, told: Explanation) -> bool:
        """Whether a stored answer was there before the batch was first asked for."""
        begun = cast("bytes | None", self._client.hget(self._key, _BEGUN))
        return begun is not None and told.is_older(float(begun))

    def _read(self, field: str, kind: type[Record]) -> Record | None:
        told = cast("bytes | None", self._client.hget(self._key, field))
        return None if told is None else _parsed(told, kind)


def latest_batches(client: redis.Redis, *, count: int = 5) -> list[str]:
    """Ids of the batches that were called last, latest first."""
    return [each.decode() for each in cast("list[bytes]", client.zrevrange(keys.batches(), 0, count - 1))]


def _parsed(told: bytes, kind: type[Record]) -> Record:
    try:
        return kind.model_validate_json(told)
    except ValidationError as error:
        raise IntegrityError(
            "This batch was recorded by another version of namesae; begin another one, with another --seed."
        ) from error
