"""The allowance of a batch in Redis: what each run was granted and took, so that a killed batch goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from pydantic import ValidationError

from agent.budget import Allowance, BatchLimits, Limit, Limits, Share
from agent.records import Explanation
from sae.feature import Frozen
from tools import keys
from tools.errors import IntegrityError

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline

_T = TypeVar("_T")
_LIMITS = b"limits"
_RUN = "run:"


class Granted(NamedTuple):
    """What a run may use, or which limit of the batch forbids it."""

    limits: Limits | None
    stopped_by: Limit | None = None


class Row(Frozen):
    """One feature of a batch."""

    asked: Limits
    """Of a run of its own, before the batch lowered them."""
    granted: Limits | None
    at: float
    """When, seconds since the epoch."""
    stopped_by: Limit | None = None
    spent: Share | None = None
    """None while the run has not ended."""


class BatchAllowance:
    """One batch. Several processes may grant and charge at once; a run in progress counts with all it may
    use. A feature asked for again gets what it was granted before, so that its request, hence its run, is
    the same.
    """

    def __init__(self, client: redis.Redis, batch: str) -> None:
        self._client, self._key = client, keys.allowance(batch)

    def open(self, limits: BatchLimits) -> None:
        """Set the limits; a batch that goes on may have others than before."""
        self._client.hset(self._key, _LIMITS.decode(), limits.model_dump_json())

    def grant(self, feature: str, limits: Limits, *, paid: bool, now: float) -> Granted:
        """What a run of ``feature`` with ``limits`` of its own may use. ``now``: seconds since the epoch."""

        def decide(pipe: Pipeline) -> Granted:
            held = _read(cast("dict[bytes, bytes]", pipe.hgetall(self._key)))
            row = held.rows.get(feature)
            if row is not None and row.asked == limits and row.granted is not None:
                pipe.multi()
                return Granted(row.granted)
            allowance = held.allowance(but=feature)
            stop = allowance.exhausted(limits, paid=paid)
            lowered = None if stop else allowance.next_run(limits)
            pipe.multi()
            self._write(pipe, feature, Row(asked=limits, granted=lowered, at=now, stopped_by=stop))
            return Granted(lowered, stop)

        return self._atomically(decide)

    def charge(self, feature: str, explanation: Explanation) -> None:
        """Write down what a run took, once; an answer found that is older than the batch took nothing."""

        def decide(pipe: Pipeline) -> None:
            row = _read(cast("dict[bytes, bytes]", pipe.hgetall(self._key))).rows.get(feature)
            pipe.multi()
            if row is None or row.granted is None or row.spent is not None:
                return
            taken = Share.of(explanation.cost, explanation.images).known(Share.most(row.granted))
            spent = Share() if explanation.is_older(row.at) else taken
            self._write(pipe, feature, row.model_copy(update={"spent": spent}))

        self._atomically(decide)

    def allowance(self) -> Allowance:
        """How things stand."""
        return self._held().allowance()

    def stopped(self) -> dict[str, Limit]:
        """The features that got no run, each with the limit that forbade it."""
        rows = self._held().rows
        return {name: row.stopped_by for name, row in rows.items() if row.stopped_by is not None}

    def _held(self) -> _Held:
        return _read(cast("dict[bytes, bytes]", self._client.hgetall(self._key)))

    def _write(self, pipe: Pipeline, feature: str, row: Row) -> None:
        pipe.hset(self._key, _RUN + feature, row.model_dump_json())

    def _atomically(self, decide: Callable[[Pipeline], _T]) -> _T:
        transaction = cast("Callable[..., _T]", self._client.transaction)
        return transaction(decide, self._key, value_from_callable=True)


class _Held(NamedTuple):
    limits: BatchLimits
    rows: dict[str, Row]

    def allowance(self, *, but: str | None = None) -> Allowance:
        spent = (
            row.spent if row.spent is not None else Share.most(row.granted)
            for name, row in self.rows.items()
            if row.granted is not None and name != but
        )
        return Allowance(self.limits, sum(spent, Share()))


def _read(held: dict[bytes, bytes]) -> _Held:
    try:
        limits = BatchLimits.model_validate_json(held.get(_LIMITS, b"{}"))
        prefix = _RUN.encode()
        rows = {
            name.removeprefix(prefix).decode(): Row.model_validate_json(told)
            for name, told in held.items()
            if name.startswith(prefix)
        }
    except ValidationError as error:
        raise IntegrityError(
            "The allowance of this batch was recorded by another version of namesae; begin another batch."
        ) from error
    return _Held(limits, rows)
