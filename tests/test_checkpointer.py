"""The conformance suite, and what it misses: first writes win, no error is swallowed, nothing is built."""

from __future__ import annotations

import asyncio
import operator
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, TypedDict, cast

import ormsgpack
import pytest
import redis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.serde.types import ERROR
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from redis.backoff import NoBackoff
from redis.retry import Retry

from agent import checkpoint_codec
from agent.checkpointer import RedisCheckpointer
from sae.feature import Feature
from tests.conftest import RedisServer
from tools import keys
from tools.errors import IntegrityError
from tools.redis_client import connect


@pytest.fixture
def saver(redis: redis.Redis) -> RedisCheckpointer:
    return RedisCheckpointer(redis)


def thread(name: str, checkpoint: str | None = None) -> RunnableConfig:
    return checkpoint_codec.Place(name, "", checkpoint).config


def checkpoint(number: int, **values: object) -> Checkpoint:
    """Checkpoint 0000000n whose channels are all of version n."""
    return empty_checkpoint() | {
        "id": f"{number:08}",
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, f"{number:032}"),
    }


def put(saver: RedisCheckpointer, name: str, number: int, **values: object) -> RunnableConfig:
    saved = checkpoint(number, **values)
    before = thread(name, f"{number - 1:08}" if number > 1 else None)
    return saver.put(before, saved, {"source": "loop", "step": number}, saved["channel_versions"])


def test_it_conforms(redis: redis.Redis) -> None:
    @checkpointer_test(name="RedisCheckpointer")
    async def make() -> AsyncIterator[RedisCheckpointer]:
        yield RedisCheckpointer(redis)

    report = asyncio.run(validate(make))
    assert len(report.results) == 8
    assert {name: result.failures for name, result in report.results.items() if not result.passed} == {}


def test_a_repeated_task_keeps_its_first_writes_and_its_last_error(saver: RedisCheckpointer) -> None:
    at = put(saver, "t", 1, a=1)
    saver.put_writes(at, [("a", "first"), (ERROR, "early")], "task")
    saver.put_writes(at, [("a", "second"), (ERROR, "late")], "task")
    found = saver.get_tuple(at)
    assert found is not None and found.pending_writes is not None
    assert sorted(found.pending_writes) == [("task", ERROR, "late"), ("task", "a", "first")]


def test_writes_come_back_in_the_order_of_their_tasks_paths(saver: RedisCheckpointer) -> None:
    at = put(saver, "t", 1, a=1)
    saver.put_writes(at, [("a", n) for n in range(11)], "z", "path/0")
    saver.put_writes(at, [("a", "later")], "a", "path/1")
    found = saver.get_tuple(at)
    assert found is not None and found.pending_writes is not None
    assert [value for _, _, value in found.pending_writes] == [*range(11), "later"]


def test_only_changed_channels_are_stored(saver: RedisCheckpointer, redis: redis.Redis) -> None:
    put(saver, "t", 1, big="x" * 100, small=1)
    second = checkpoint(2, big="x" * 100, small=2)
    second["channel_versions"] = {"big": f"{1:032}", "small": f"{2:032}"}
    saver.put(thread("t", f"{1:08}"), second, {"step": 2}, {"small": f"{2:032}"})
    assert redis.hlen(keys.checkpoint_values("t")) == 3
    found = saver.get_tuple(thread("t"))
    assert found is not None and found.checkpoint["channel_values"] == {"big": "x" * 100, "small": 2}
    assert found.parent_config == thread("t", f"{1:08}")


def test_large_values_are_deflated(saver: RedisCheckpointer, redis: redis.Redis) -> None:
    put(saver, "t", 1, big="stripes " * 1000)
    assert sum(map(len, redis.hvals(keys.checkpoint_values("t")))) < 1000


def test_listing_pages_through_more_than_it_reads_at_once(saver: RedisCheckpointer) -> None:
    for number in range(1, 108):
        put(saver, "t", number, a=number)
    assert [found.checkpoint["channel_values"]["a"] for found in saver.list(thread("t"))] == list(
        range(107, 0, -1)
    )
    limited = saver.list(thread("t"), before=thread("t", f"{90:08}"), limit=60)
    assert [found.metadata["step"] for found in limited] == list(range(89, 29, -1))


def test_pruning_drops_the_values_that_nothing_shares(saver: RedisCheckpointer, redis: redis.Redis) -> None:
    for number in range(1, 4):
        saver.put_writes(put(saver, "t", number, a=number), [("a", number)], "task")
    saver.prune(["t"])
    assert redis.hlen(keys.checkpoint_values("t")) == redis.hlen(keys.checkpoint_rows("t")) == 1
    kept = saver.get_tuple(thread("t"))
    assert kept is not None and kept.checkpoint["channel_values"] == {"a": 3}
    assert kept.pending_writes == [("task", "a", 3)]
    with pytest.raises(ValueError, match="keep_latest or delete"):
        saver.prune(["t"], strategy="everything")


def test_a_thread_with_delta_channels_is_left_whole(saver: RedisCheckpointer) -> None:
    for number in range(1, 4):
        saved = checkpoint(number, a=number)
        saver.put(
            thread("t"), saved, {"counters_since_delta_snapshot": {"a": (1, 1)}}, saved["channel_versions"]
        )
    saver.prune(["t"])
    assert len(list(saver.list(thread("t")))) == 3


def test_a_deleted_thread_leaves_no_key(saver: RedisCheckpointer, redis: redis.Redis) -> None:
    at = put(saver, "t", 1, a=1)
    saver.put_writes(at, [("a", 2)], "task")
    # Of a checkpoint that was never put: a kill between the two.
    saver.put_writes(thread("t", "later"), [("a", 2)], "task")
    saver.copy_thread("t", "copy")
    saver.delete_thread("t")
    saver.delete_thread("copy")
    assert redis.keys() == []


def test_a_copy_is_independent(saver: RedisCheckpointer) -> None:
    put(saver, "t", 1, a=1)
    put(saver, "copy", 1, old=1)
    put(saver, "copy", 2, old=2)
    saver.copy_thread("t", "copy")
    put(saver, "t", 2, a=2)
    assert [found.checkpoint["channel_values"] for found in saver.list(thread("copy"))] == [{"a": 1}]


def test_a_thread_ends_after_its_time_to_live(redis: redis.Redis) -> None:
    saver = RedisCheckpointer(redis, ttl_s=100)
    saver.put_writes(put(saver, "t", 1, a=1), [("a", 2)], "task")
    lives = {key: redis.ttl(key) for key in redis.scan_iter() if key != keys.threads().encode()}
    assert len(lives) == 5 and all(0 < left <= 100 for left in lives.values())


def test_ids_cannot_reach_into_another_thread(saver: RedisCheckpointer) -> None:
    put(saver, "a", 1, secret=1)
    for name in ("a:rows", "a\0", "*", "a%3Arows"):
        assert saver.get_tuple(thread(name)) is None
    assert list(saver.list(thread("*"))) == []


def test_a_redis_that_is_down_raises_and_never_looks_like_no_thread(tmp_path: Path) -> None:
    down = RedisCheckpointer(
        redis.Redis(unix_socket_path=str(tmp_path / "none.sock"), retry=Retry(NoBackoff(), 0))
    )
    saved = checkpoint(1, a=1)
    calls: list[Any] = [
        lambda: down.get_tuple(thread("t")),
        lambda: list(down.list(thread("t"))),
        lambda: list(down.list(None)),
        lambda: down.put(thread("t"), saved, {}, {}),
        lambda: down.put_writes(thread("t", "1"), [("a", 1)], "task"),
        lambda: down.delete_thread("t"),
        lambda: down.copy_thread("t", "u"),
        lambda: down.prune(["t"]),
        lambda: down.delete_for_runs(["r"]),
        lambda: asyncio.run(down.aget_tuple(thread("t"))),
        lambda: graph().compile(checkpointer=down).get_state(thread("t")),
    ]
    for call in calls:
        with pytest.raises(redis.ConnectionError):
            call()


class Hidden:
    """Pickles as a command."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("false",)


def test_forged_values_are_refused_and_build_nothing(saver: RedisCheckpointer, redis: redis.Redis) -> None:
    at = put(saver, "t", 1, a=1)
    field = redis.hkeys(keys.checkpoint_values("t"))[0]
    forged = [
        b'json\0r\0{"lc": 2, "type": "constructor", "id": ["os", "system"], "args": ["false"]}',
        b"pickle\0r\0cos\nsystem\n(S'false'\ntR.",
        b"msgpack\0z\0not deflated",
        b"msgpack\0r\0\xc1",
        b"",
    ]
    for data in forged:
        redis.hset(keys.checkpoint_values("t"), field, data)
        with pytest.raises(IntegrityError, match="delete its thread"):
            saver.get_tuple(at)
    call = ormsgpack.packb(("os", "getcwd", ()))
    redis.hset(keys.checkpoint_values("t"), field, b"msgpack\0r\0" + ormsgpack.packb(ormsgpack.Ext(1, call)))
    found = saver.get_tuple(at)
    assert found is not None and found.checkpoint["channel_values"]["a"] != str(Path.cwd())


def test_only_allowed_types_are_built(redis: redis.Redis) -> None:
    feature = Feature(dictionary="sandbox", index=17)
    put(RedisCheckpointer(redis), "t", 1, a=feature)
    for saver, expected in (
        (RedisCheckpointer(redis, allow=[Feature]), feature),
        (RedisCheckpointer(redis), {"dictionary": "sandbox", "index": 17}),
    ):
        found = saver.get_tuple(thread("t"))
        assert found is not None and found.checkpoint["channel_values"]["a"] == expected


def test_a_damaged_row_is_an_integrity_error(saver: RedisCheckpointer, redis: redis.Redis) -> None:
    at = put(saver, "t", 1, a=1)
    redis.hset(keys.checkpoint_rows("t"), redis.hkeys(keys.checkpoint_rows("t"))[0], b"\x93\x01")
    with pytest.raises(IntegrityError):
        saver.get_tuple(at)


class Walk(TypedDict):
    """The state of a small graph."""

    visited: Annotated[list[str], operator.add]
    feature: Feature


class Task(TypedDict):
    """What one of the parallel tasks is given."""

    name: str


def graph(fail_at: str = "") -> StateGraph[Walk]:
    """start -> three parallel tasks -> end; the task ``fail_at`` raises."""
    calls.clear()

    def task(told: Task) -> dict[str, list[str]]:
        calls.append(told["name"])
        if told["name"] == fail_at:
            raise RuntimeError("killed")
        return {"visited": [told["name"]]}

    def fan_out(state: Walk) -> list[Send]:
        return [Send("task", {"name": name}) for name in ("a", "b", "c")]

    built = StateGraph(Walk)
    built.add_node("task", cast(Any, task))
    built.add_node("last", lambda state: {"visited": ["last"]})
    built.add_conditional_edges(START, fan_out, ["task"])
    built.add_edge("task", "last")
    built.add_edge("last", END)
    return built


calls: list[str] = []


def test_a_failed_run_goes_on_where_it_was_and_repeats_no_finished_task(
    saver: RedisCheckpointer, redis_server: RedisServer
) -> None:
    start: Any = {"visited": [], "feature": Feature(dictionary="sandbox", index=17)}
    with pytest.raises(RuntimeError):
        graph("b").compile(checkpointer=saver).invoke(start, thread("run"), durability="sync")
    assert sorted(calls) == ["a", "b", "c"]
    # Another process: nothing but Redis is shared.
    resumed = graph().compile(
        checkpointer=RedisCheckpointer(connect(redis_server.url, redis_server.data_dir))
    )
    assert resumed.get_state(thread("run")).next != ()
    state = resumed.invoke(None, thread("run"), durability="sync")
    assert calls == ["b"]
    assert state == {"visited": ["a", "b", "c", "last"], "feature": start["feature"]}
    assert resumed.get_state(thread("run")).next == ()


def test_a_graph_runs_asynchronously_on_the_same_client(saver: RedisCheckpointer) -> None:
    start: Any = {"visited": [], "feature": Feature(dictionary="sandbox", index=17)}
    compiled = graph().compile(checkpointer=saver)

    async def run() -> list[int]:
        await compiled.ainvoke(start, thread("run"))
        return [found.metadata["step"] async for found in saver.alist(thread("run"))]

    assert asyncio.run(run()) == [2, 1, 0, -1]
    assert compiled.get_state(thread("run")).values["visited"][-1] == "last"
