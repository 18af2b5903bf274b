"""Batches in Redis: what each was asked for, and what became of its features, whichever process did it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast, get_args

from pydantic import ValidationError

from agent.budget import BatchLimits
from agent.records import Explanation, VerdictKind
from namesae.batch_records import BatchAsk, BatchRow
from sae.feature import Frozen
from tools import keys
from tools.errors import IntegrityError

if TYPE_CHECKING:
    import redis

Record = TypeVar("Record", bound=Frozen)
_ASK, _LIMITS, _BEGUN, _DONE = "ask", "limits", "begun", "done:"
_FEATURES, _READY_AT, _TALLIED, _VERDICT = "features", "ready_at", "tallied", "verdict:"
_SEARCH, _USD, _UNPRICED = "search", "usd", "unpriced"
_TALLY = (_BEGUN, _FEATURES, _READY_AT, _TALLIED, _SEARCH, _USD, _UNPRICED)
_COUNT = f"""
if redis.call('hsetnx', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('hincrby', KEYS[1], '{_VERDICT}' .. ARGV[3], 1)
redis.call('hincrby', KEYS[1], '{_SEARCH}', ARGV[4])
if ARGV[5] == '' then
  redis.call('hincrby', KEYS[1], '{_UNPRICED}', 1)
else
  redis.call('hincrbyfloat', KEYS[1], '{_USD}', ARGV[5])
end
return 1
"""
"""A row is counted in the step that writes it, so that no kill makes them differ."""


class Tally(NamedTuple):
    """How far a batch is."""

    begun: float
    """When it was first asked for, seconds since the epoch."""
    features: int | None
    """All of it; None where an older version began it."""
    ready_at: float | None
    """When the rest will be done at the pace of the last call, seconds since the epoch."""
    verdicts: dict[VerdictKind, int]
    """How many features got each."""
    search: int
    """Images charged to searches, the survey's left out."""
    usd: float | None
    """None where a price is unknown."""

    @property
    def done(self) -> int:
        """Features that have a verdict."""
        return sum(self.verdicts.values())

    def of_rows(self, rows: Sequence[BatchRow]) -> Tally:
        """The same, counted anew."""
        known = [row.usd for row in rows if row.usd is not None]
        return self._replace(
            verdicts=dict(Counter(row.verdict for row in rows)),
            search=sum(row.search for row in rows),
            usd=sum(known) if len(known) == len(rows) else None,
        )


class BatchStore:
    """One batch."""

    def __init__(self, client: redis.Redis, batch: str) -> None:
        self._client, self._key, self.batch = client, keys.batch(batch), batch

    def begin(self, ask: BatchAsk, limits: BatchLimits, *, now: float, features: int | None = None) -> None:
        """Write down what is asked for, of so many features. The limits are those of the latest call."""
        fresh = not self._client.exists(self._key)
        with self._client.pipeline(transaction=True) as pipe:
            if fresh:
                pipe.hset(self._key, _TALLIED, "1")
            pipe.hsetnx(self._key, _ASK, ask.model_dump_json())
            if features is not None:
                pipe.hset(self._key, _FEATURES, str(features))
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
        """Write down a verdict, and count it; the first one stays."""
        usd = "" if row.usd is None else repr(row.usd)
        told = (f"{_DONE}{row.index}", row.model_dump_json(), row.verdict, row.search, usd)
        self._client.eval(_COUNT, 1, self._key, *told)

    def pace(self, seconds_left: float | None, *, now: float) -> None:
        """Write down how long the rest will take; ``now``: seconds since the epoch."""
        told = "" if seconds_left is None else repr(now + seconds_left)
        self._client.hset(self._key, _READY_AT, told)

    def tally(self) -> Tally | None:
        """How far it is, whoever named the features; None for a batch that was never begun."""
        counted = [f"{_VERDICT}{verdict}" for verdict in get_args(VerdictKind)]
        held = cast("list[bytes | None]", self._client.hmget(self._key, [*_TALLY, *counted]))
        begun, features, ready_at, tallied, search, usd, unpriced = held[: len(_TALLY)]
        if begun is None:
            return None
        tally = Tally(
            begun=float(begun),
            features=None if features is None else int(features),
            ready_at=float(ready_at) if ready_at else None,
            verdicts=_verdicts(held[len(_TALLY) :]),
            search=int(search or 0),
            usd=None if unpriced else float(usd or 0.0),
        )
        return tally if tallied else tally.of_rows(self.rows(self.indices()))

    def indices(self) -> list[int]:
        """Of the features that have a verdict, in order."""
        names = cast("list[bytes]", self._client.hkeys(self._key))
        mark = _DONE.encode()
        return sorted(int(name.removeprefix(mark)) for name in names if name.startswith(mark))

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


def _verdicts(counts: Sequence[bytes | None]) -> dict[VerdictKind, int]:
    pairs = zip(get_args(VerdictKind), counts, strict=True)
    return {verdict: int(count) for verdict, count in pairs if count is not None}


def _parsed(told: bytes, kind: type[Record]) -> Record:
    try:
        return kind.model_validate_json(told)
    except ValidationError as error:
        raise IntegrityError(
            "This batch was recorded by another version of namesae; begin another one, with another --seed."
        ) from error
