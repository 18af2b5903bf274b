"""Live events for many watchers over one connection: whoever watches the same run shares what is read of it.

Two connections in all: one waits for new events of every watched run, the other fetches what is past.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from tools import keys

if TYPE_CHECKING:
    from namesae.settings import Settings

log = logging.getLogger(__name__)

WAIT_MS = 200
"""The most a new watcher waits to be heard of."""
MOST_QUEUED = 256
"""Events kept for a watcher that is slow to take them; past that it fetches them at its own pace."""
PAGE = 100
PAUSE_S = 0.5
"""After a failure of Redis."""
FIRST = "0-0"


class Frame(NamedTuple):
    """An event as it is sent."""

    id: str
    """Of the entry in its run's stream."""
    kind: str
    wire: bytes
    """Its server-sent event."""

    def is_after(self, entry: str) -> bool:
        """Whether it comes after an entry of the same stream."""
        return place_of(self.id) > place_of(entry)


def frame_of(entry: bytes, fields: dict[bytes, bytes]) -> Frame:
    """An entry of a stream; its event is one line of JSON already."""
    told = fields[b"event"]
    kind = str(json.loads(told)["what"]["kind"])
    number = entry.decode()
    return Frame(number, kind, b"id: %b\nevent: %b\ndata: %b\n\n" % (entry, kind.encode(), told))


def place_of(entry: str) -> tuple[int, int]:
    """An entry id as numbers, which order as the stream does."""
    at, _, number = entry.partition("-")
    return int(at), int(number or 0)


class Seat:
    """The place of one watcher: what it has not taken yet."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._news = asyncio.Event()
        self.is_behind = False
        """Whether more came than is kept: what is missing has to be fetched."""

    def offer(self, frames: list[Frame]) -> None:
        """Keep frames until they are taken, or remember that there were too many."""
        self.is_behind = self.is_behind or len(self._frames) + len(frames) > MOST_QUEUED
        self._frames = [] if self.is_behind else self._frames + frames
        self._news.set()

    async def take(self, wait_s: float) -> list[Frame]:
        """What came, as soon as something has; empty after ``wait_s`` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), wait_s)
        self._news.clear()
        taken, self._frames = self._frames, []
        return taken

    def wake(self) -> None:
        """Let ``take`` return now."""
        self._news.set()


class Group:
    """Those who watch one run."""

    def __init__(self, cursor: str) -> None:
        self.cursor = cursor
        """The last entry that was handed out."""
        self.seats: set[Seat] = set()


class EventHub:
    """The events of all runs, for all watchers of one process."""

    def __init__(self, connect: Callable[[], Redis]) -> None:
        self._connect = connect
        self._groups: dict[str, Group] = {}
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._past: Redis | None = None
        self.is_closing = False

    @property
    def watchers(self) -> int:
        """How many look on."""
        return sum(len(group.seats) for group in self._groups.values())

    def start(self) -> None:
        """Begin to listen, in the running loop."""
        self._past = self._connect()
        self._task = asyncio.create_task(self._listen())

    def end_streams(self) -> None:
        """Let every watcher go; may be called more than once."""
        self.is_closing = True
        self._wanted.set()
        for group in self._groups.values():
            for seat in group.seats:
                seat.wake()

    async def close(self) -> None:
        """Let every watcher go and hang up."""
        self.end_streams()
        if self._task is not None:
            # It looks up at least that often; a cancellation in the middle of a command can get lost.
            await asyncio.wait({self._task}, timeout=5 * WAIT_MS / 1000)
            self._task.cancel()
        if self._past is not None:
            await self._past.aclose()

    async def watch(
        self, run: str, *, after: str = FIRST, wait_s: float = 15.0
    ) -> AsyncGenerator[list[Frame], None]:
        """The events of a run after an entry, as they come; an empty list after ``wait_s`` without one.

        Ends when the hub closes. Raises RedisError where what is past cannot be read.
        """
        last = after
        async for frames in self._read(run, last):
            last = frames[-1].id
            yield frames
        with self._seated(run, last) as seat:
            while not self.is_closing:
                # Between reading and sitting down, and while it was behind, others were told more.
                seat.is_behind = False
                async for frames in self._read(run, last):
                    last = frames[-1].id
                    yield frames
                while not (seat.is_behind or self.is_closing):
                    fresh = [frame for frame in await seat.take(wait_s) if frame.is_after(last)]
                    last = fresh[-1].id if fresh else last
                    if not seat.is_behind:
                        yield fresh

    @contextlib.contextmanager
    def _seated(self, run: str, last: str) -> Iterator[Seat]:
        seat, group = Seat(), self._groups.setdefault(run, Group(last))
        group.seats.add(seat)
        self._wanted.set()
        try:
            yield seat
        finally:
            group.seats.discard(seat)
            if not group.seats and self._groups.get(run) is group:
                del self._groups[run]

    async def _read(self, run: str, after: str) -> AsyncGenerator[list[Frame], None]:
        """What is in a run's stream after an entry, a page at a time."""
        assert self._past is not None
        while not self.is_closing:
            told = await self._past.xrange(keys.events(run), f"({after}", "+", count=PAGE)
            frames = [frame_of(*line) for line in cast("list[tuple[bytes, dict[bytes, bytes]]]", told)]
            if frames:
                after = frames[-1].id
                yield frames
            if len(frames) < PAGE:
                return

    async def _listen(self) -> None:
        client = self._connect()
        try:
            while not self.is_closing:
                if not self._groups:
                    self._wanted.clear()
                    await self._wanted.wait()
                    continue
                try:
                    await self._hand_out(client)
                except RedisError as error:
                    log.warning("Live events pause: %s", error)
                    await asyncio.sleep(PAUSE_S)
        finally:
            await client.aclose()

    async def _hand_out(self, client: Redis) -> None:
        runs = {keys.events(run): run for run in self._groups}
        cursors: dict[Any, Any] = {key: self._groups[run].cursor for key, run in runs.items()}
        told = await client.xread(cursors, count=PAGE, block=WAIT_MS)
        streams = cast("list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]", told or [])
        for key, entries in streams:
            group = self._groups.get(runs[key.decode()])
            frames = [frame_of(*entry) for entry in entries]
            if group is None or not frames:
                continue
            group.cursor = frames[-1].id
            for seat in tuple(group.seats):
                seat.offer(frames)


def connector(settings: Settings) -> Callable[[], Redis]:
    """Opens asynchronous clients of the Redis that the settings name; the embedded one has to run."""
    from tools.redis_server import socket_path

    chosen = settings.redis_url
    url = chosen.get_secret_value() if chosen else f"unix://{socket_path(settings.home)}"

    def connect() -> Redis:
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url, max_connections=4, timeout=10, socket_timeout=15.0, socket_connect_timeout=5.0
        )
        return Redis.from_pool(pool)

    return connect
