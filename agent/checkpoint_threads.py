"""Whole threads of checkpoints in Redis: list, delete, copy, thin out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from langgraph.checkpoint.serde.base import SerializerProtocol

from agent.checkpoint_codec import Place, Row, load_row
from tools import keys

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline

Choose = Callable[[dict[bytes, Row]], set[bytes]]
"""Which of a thread's checkpoints to keep."""


def thread_keys(thread: str) -> list[str]:
    """Every key of a thread but those of its pending writes."""
    return [
        keys.checkpoint_rows(thread),
        keys.checkpoint_order(thread),
        keys.checkpoint_values(thread),
        keys.checkpoint_writers(thread),
    ]


def list_threads(client: redis.Redis) -> list[str]:
    """Every thread, the last written first."""
    found = cast("list[bytes]", client.zrevrange(keys.threads(), 0, -1))
    return [thread.decode() for thread in found]


def _all_keys(thread: str, writers: Iterable[bytes]) -> list[str]:
    return [*thread_keys(thread), *(keys.checkpoint_writes(thread, member.decode()) for member in writers)]


def _writers(client: redis.Redis, thread: str) -> set[bytes]:
    return cast("set[bytes]", client.smembers(keys.checkpoint_writers(thread)))


def delete(client: redis.Redis, thread: str) -> None:
    """Delete all of a thread; nothing where there is none."""
    doomed = _all_keys(thread, _writers(client, thread))
    with client.pipeline(transaction=True) as pipe:
        pipe.unlink(*doomed)
        pipe.zrem(keys.threads(), thread)
        pipe.execute()


def copy(client: redis.Redis, source: str, target: str) -> None:
    """Put a copy of a thread, its pending writes included, in the place of the target's."""
    if source == target or not client.exists(keys.checkpoint_order(source)):
        return
    delete(client, target)
    writers = _writers(client, source)
    with client.pipeline(transaction=True) as pipe:
        for old, new in zip(_all_keys(source, writers), _all_keys(target, writers), strict=True):
            pipe.copy(old, new, replace=True)
        pipe.zadd(keys.threads(), {target: time.time()})
        pipe.execute()


def keep(client: redis.Redis, serde: SerializerProtocol, *, thread: str, choose: Choose) -> None:
    """Drop the checkpoints that ``choose`` leaves out, and the values that no other one shares.

    Starts over when another process writes to the thread meanwhile.
    """

    def drop(pipe: Pipeline) -> None:
        data = cast("dict[bytes, bytes]", pipe.hgetall(keys.checkpoint_rows(thread)))
        stored = cast("list[bytes]", pipe.hkeys(keys.checkpoint_values(thread)))
        rows = {member: load_row(serde, row) for member, row in data.items()}
        kept = choose(rows)
        anchor = Place(thread, "", None)
        shared = {
            field
            for member in kept
            for field in rows[member].value_fields(anchor.at(member).namespace).values()
        }
        pipe.multi()
        _drop(pipe, thread, dropped=sorted(rows.keys() - kept), values=sorted(set(stored) - shared))

    client.transaction(drop, keys.checkpoint_rows(thread), keys.checkpoint_values(thread))


def _drop(pipe: Pipeline, thread: str, *, dropped: list[bytes], values: list[bytes]) -> None:
    if values:
        pipe.hdel(keys.checkpoint_values(thread), *cast(Any, values))
    if dropped:
        pipe.hdel(keys.checkpoint_rows(thread), *cast(Any, dropped))
        pipe.zrem(keys.checkpoint_order(thread), *dropped)
        pipe.srem(keys.checkpoint_writers(thread), *dropped)
        pipe.unlink(*(keys.checkpoint_writes(thread, member.decode()) for member in dropped))


def latest(rows: dict[bytes, Row]) -> set[bytes]:
    """The last checkpoint of each namespace; all where a delta channel needs the ancestors."""
    if any(row.metadata.get("counters_since_delta_snapshot") for row in rows.values()):
        return set(rows)
    last: dict[bytes, bytes] = {}
    for member in sorted(rows):
        last[member.partition(b"\0")[0]] = member
    return set(last.values())


def not_of(runs: Iterable[str]) -> Choose:
    """The checkpoints whose metadata name none of the runs."""
    unwanted = set(runs)
    return lambda rows: {member for member, row in rows.items() if row.metadata.get("run_id") not in unwanted}
