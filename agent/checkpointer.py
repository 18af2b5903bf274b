"""LangGraph checkpoints on plain Redis or Valkey (6.2 and later, no modules).

A thread is a few keys: its rows (checkpoints without their values), their order, the values (one per
channel and version, so that a step stores only what it changed), and the pending writes of each
checkpoint with the set that names them. A put is one transaction. Nothing here swallows a connection
error: a Redis that is down must never look like a thread that does not exist.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from agent import checkpoint_threads as threads
from agent.checkpoint_codec import (
    Place,
    Row,
    dump,
    dump_row,
    dump_write,
    load,
    load_row,
    load_writes,
    value_field,
)
from tools import keys

if TYPE_CHECKING:
    import redis
    from langchain_core.runnables import RunnableConfig
    from redis.client import Pipeline

_PAGE = 50
"""Checkpoints read at once by ``list``."""


class RedisCheckpointer(BaseCheckpointSaver[str]):
    """Checkpoints in Redis. A thread ends ``ttl_s`` after its last write; never where that is None.

    ``allow``: the state's own types. Only they and langgraph's are ever built from what Redis holds;
    ``compile`` adds those the graph's schema names.
    """

    def __init__(self, client: redis.Redis, *, ttl_s: int | None = None, allow: Iterable[type] = ()) -> None:
        super().__init__(serde=JsonPlusSerializer(allowed_msgpack_modules=tuple(allow) or None))
        self.client, self.ttl_s = client, ttl_s

    def get_next_version(self, current: str | None, channel: None) -> str:
        """A larger version; its random end keeps forks of one checkpoint apart."""
        step = 0 if current is None else int(str(current).partition(".")[0])
        return f"{step + 1:032}.{secrets.token_hex(8)}"

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint and the values of the channels in ``new_versions``, all or nothing."""
        parent = Place.of(config)
        place = parent._replace(checkpoint=checkpoint["id"])
        row = Row(checkpoint, get_checkpoint_metadata(config, metadata), parent.checkpoint or "")
        values = checkpoint["channel_values"]
        changed = {
            value_field(place.namespace, channel, version): dump(self.serde, values[channel])
            for channel, version in new_versions.items()
            if channel in values
        }
        with self.client.pipeline(transaction=True) as pipe:
            rows: Any = {place.member: dump_row(self.serde, row)}
            pipe.hset(keys.checkpoint_rows(place.thread), mapping=rows)
            pipe.zadd(keys.checkpoint_order(place.thread), {place.member: 0})
            if changed:
                pipe.hset(keys.checkpoint_values(place.thread), mapping=cast(Any, changed))
            self._touch(pipe, place.thread)
            pipe.execute()
        return place.config

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store a task's writes; a repeated task keeps its first, except errors, interrupts and resumes."""
        place = Place.of(config)
        key = keys.checkpoint_writes(place.thread, place.member.decode())
        with self.client.pipeline(transaction=True) as pipe:
            for position, (channel, value) in enumerate(writes):
                index = WRITES_IDX_MAP.get(channel, position)
                write: Any = dump_write(self.serde, channel, value, path=task_path)
                (pipe.hsetnx if index >= 0 else pipe.hset)(key, f"{task_id}\0{index}", write)
            pipe.sadd(keys.checkpoint_writers(place.thread), place.member)
            if self.ttl_s is not None:
                pipe.expire(key, self.ttl_s)
            self._touch(pipe, place.thread)
            pipe.execute()

    def _touch(self, pipe: Pipeline, thread: str) -> None:
        pipe.zadd(keys.threads(), {thread: time.time()})
        if self.ttl_s is not None:
            for key in threads.thread_keys(thread):
                pipe.expire(key, self.ttl_s)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint named, else the namespace's latest; None only where Redis says there is none."""
        place = Place.of(config)
        members = [place.member]
        if not place.checkpoint:
            low, high = f"[{place.namespace}\0", f"({place.namespace}\1"
            order = keys.checkpoint_order(place.thread)
            members = cast("list[bytes]", self.client.zrevrangebylex(order, high, low, start=0, num=1))
        return next(self._tuples(place, self._rows(place.thread, members)), None)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """A thread's checkpoints, newest first; without a config every thread's, the last written first."""
        told = (config or {}).get("configurable", {})
        until = get_checkpoint_id(before) if before else None
        remaining = float("inf") if limit is None else limit
        for thread in [str(told["thread_id"])] if "thread_id" in told else threads.list_threads(self.client):
            members = [
                place.member
                for place in self._places(thread)
                if told.get("checkpoint_ns") in (None, place.namespace)
                and told.get("checkpoint_id") in (None, place.checkpoint)
                and (until is None or (place.checkpoint or "") < until)
            ]
            for start in range(0, len(members), _PAGE):
                rows = self._rows(thread, members[start : start + _PAGE])
                wanted = {member: row for member, row in rows.items() if row.matches(filter)}
                for found in self._tuples(Place(thread, "", None), wanted):
                    if remaining <= 0:
                        return
                    remaining -= 1
                    yield found

    def _places(self, thread: str) -> Sequence[Place]:
        members = cast("list[bytes]", self.client.zrange(keys.checkpoint_order(thread), 0, -1))
        places = [Place(thread, "", None).at(member) for member in members]
        return sorted(places, key=lambda place: place.checkpoint or "", reverse=True)

    def _rows(self, thread: str, members: Sequence[bytes]) -> dict[bytes, Row]:
        if not members:
            return {}
        data = self.client.hmget(keys.checkpoint_rows(thread), cast(Any, members))
        found = zip(members, cast("list[bytes | None]", data), strict=True)
        return {member: load_row(self.serde, row) for member, row in found if row is not None}

    def _tuples(self, anchor: Place, rows: dict[bytes, Row]) -> Iterator[CheckpointTuple]:
        """Two round trips, however many rows: one for all values, one for all pending writes."""
        if not rows:
            return
        places = {member: anchor.at(member) for member in rows}
        fields = {member: row.value_fields(places[member].namespace) for member, row in rows.items()}
        values = self._values(
            anchor.thread, sorted({field for some in fields.values() for field in some.values()})
        )
        with self.client.pipeline(transaction=False) as pipe:
            for member in rows:
                pipe.hgetall(keys.checkpoint_writes(anchor.thread, member.decode()))
            writes = pipe.execute()
        for (member, row), pending in zip(rows.items(), writes, strict=True):
            held = {
                channel: load(self.serde, values[field])
                for channel, field in fields[member].items()
                if field in values
            }
            place = places[member]
            yield CheckpointTuple(
                place.config,
                cast(Checkpoint, {**row.checkpoint, "channel_values": held}),
                row.metadata,
                place._replace(checkpoint=row.parent).config if row.parent else None,
                load_writes(self.serde, pending),
            )

    def _values(self, thread: str, fields: Sequence[bytes]) -> dict[bytes, bytes]:
        if not fields:
            return {}
        data = self.client.hmget(keys.checkpoint_values(thread), cast(Any, fields))
        found = zip(fields, cast("list[bytes | None]", data), strict=True)
        return {field: value for field, value in found if value is not None}

    def delete_thread(self, thread_id: str) -> None:
        """Delete all of a thread."""
        threads.delete(self.client, str(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints whose metadata name one of the runs; reads every thread to find them."""
        for thread in threads.list_threads(self.client) if run_ids else ():
            threads.keep(self.client, self.serde, thread=thread, choose=threads.not_of(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread, its pending writes included, in the place of the target."""
        threads.copy(self.client, str(source_thread_id), str(target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep each namespace's latest checkpoint (``keep_latest``) or nothing (``delete``).

        Threads with delta channels are left whole: their latest checkpoint needs its ancestors.
        """
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"Prune strategy {strategy!r} is unknown: give keep_latest or delete.")
        for thread in map(str, thread_ids):
            if strategy == "delete":
                threads.delete(self.client, thread)
            else:
                threads.keep(self.client, self.serde, thread=thread, choose=threads.latest)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """``put`` in a worker thread, as all asynchronous methods here: one client serves any event loop."""
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        results = self.list(config, filter=filter, before=before, limit=limit)
        while (found := await asyncio.to_thread(next, results, None)) is not None:
            yield found

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await asyncio.to_thread(self.prune, thread_ids, strategy=strategy)
