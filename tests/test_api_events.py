"""Live events: from where a watcher left, to hundreds at once, whatever the slowest of them does."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from agent.events import Event, EventStream, Planned
from namesae.service.event_hub import MOST_QUEUED, EventHub, connector, place_of
from namesae.service.orders import NameOrder
from tests.api_service import OPTIONS, Place, served, settings_at

RUN = "fake-0-abc-0"


@pytest.fixture
def place(redis: Any, redis_server: Any, tmp_path: Any) -> Iterator[Place]:
    options = OPTIONS._replace(send_s=0.5)
    with served(settings_at(redis_server.url, tmp_path), options) as place:
        yield place


def begun(place: Place, index: int = 0) -> str:
    """A run that waits for a worker."""
    return place.service.runs.start(NameOrder(feature=f"fake#{index}"), who="test").run


def tell(place: Place, run: str, count: int, *, text: str = "because") -> None:
    for at in range(count):
        what = Planned(plan="draw", reason=f"{text} {at}")
        place.service.state.events(Event(run=run, at=time.time(), node="propose", round=at, what=what))


def ids(place: Place, run: str) -> list[str]:
    return [entry.id for entry in place.service.state.events.read(run)]


class Lines:
    """A stream of a run, read line by line."""

    def __init__(self, place: Place, run: str, **headers: str) -> None:
        self._client = httpx.Client(base_url=place.url, trust_env=False, timeout=10)
        self._stream = self._client.stream("GET", f"/api/v1/runs/{run}/events", headers=headers)
        self.answer = self._stream.__enter__()
        self._lines = self.answer.iter_lines()

    def upto(self, start: str) -> list[str]:
        """The lines until one is so, or begins so up to its colon; that one included."""
        found = []
        for line in self._lines:
            found.append(line)
            if line == start or (":" in start[-2:] and line.startswith(start)):
                return found
        return [*found, "(closed)"]

    def ids(self, count: int) -> list[str]:
        """Of the next events."""
        return [self.upto("id: ")[-1].removeprefix("id: ") for _ in range(count)]

    def close(self) -> None:
        self._stream.__exit__(None, None, None)
        self._client.close()


def test_a_watcher_sees_what_was_and_what_comes(place: Place) -> None:
    run = begun(place)
    tell(place, run, 7)
    known = ids(place, run)
    lines = Lines(place, run)
    assert lines.answer.headers["content-type"].startswith("text/event-stream")
    assert lines.ids(len(known)) == known
    tell(place, run, 2)
    assert lines.ids(2) == ids(place, run)[-2:]
    told = [line for line in lines.upto("data: ") if line]
    assert told[0] == "event: planned"
    event = Event.model_validate_json(told[1].removeprefix("data: "))
    assert isinstance(event.what, Planned) and event.what.reason == "because 1"
    lines.close()


def test_a_watcher_that_comes_back_misses_nothing_and_sees_nothing_twice(place: Place) -> None:
    run = begun(place)
    tell(place, run, 7)
    known = ids(place, run)
    lines = Lines(place, run, **{"Last-Event-ID": known[-4]})
    assert lines.ids(3) == known[-3:]
    lines.close()
    tell(place, run, 3)
    lines = Lines(place, run, **{"Last-Event-ID": known[-1]})
    assert lines.ids(3) == ids(place, run)[-3:]
    lines.close()


def test_a_quiet_stream_beats_and_ends_when_the_run_is_cancelled(place: Place) -> None:
    run = begun(place)
    lines = Lines(place, run)
    assert lines.upto(":")[-1] == ": still here"
    place.service.runs.cancel(run)
    assert lines.upto("event: end")[-1] == "event: end"
    assert '"state":"cancelled"' in lines.upto("data: ")[-1]
    assert lines.upto("id: ")[-1] == "(closed)"
    lines.close()
    began = time.monotonic()
    again = Lines(place, run)
    assert "event: end" in again.upto("event: end")
    assert time.monotonic() - began < 2
    again.close()


def test_what_is_no_run_or_no_event_is_refused(place: Place) -> None:
    with httpx.Client(base_url=place.url, trust_env=False) as client:
        assert client.get(f"/api/v1/runs/{RUN}/events").status_code == 404
        for bad in ("x", "1-", "1" * 20, "-", "1-2-3"):
            headers = {"Last-Event-ID": bad}
            assert client.get(f"/api/v1/runs/{RUN}/events", headers=headers).status_code == 422, bad


def test_stopping_lets_watchers_go(place: Place) -> None:
    run = begun(place)
    lines = Lines(place, run)
    lines.upto(":")
    began = time.monotonic()
    place.app.state.hub.end_streams()
    assert lines.upto("id: ")[-1] == "(closed)"
    assert time.monotonic() - began < 1.5
    assert httpx.get(f"{place.url}/readyz", trust_env=False).status_code == 503
    assert httpx.get(f"{place.url}/healthz", trust_env=False).status_code == 200
    lines.close()


def test_a_watcher_that_does_not_read_is_dropped_and_others_see_all(place: Place) -> None:
    run = begun(place)
    url = urlsplit(place.url)
    idle = socket.socket()
    idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    idle.connect((url.hostname, url.port))
    request = f"GET /api/v1/runs/{run}/events HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n"
    idle.sendall(request.encode())
    lines = Lines(place, run)
    before = len(ids(place, run))
    lines.ids(before)
    assert watchers(place, 2)
    # More than the buffers of two sockets and of the server hold.
    tell(place, run, 23, text="x" * 500_000)
    assert lines.ids(23) == ids(place, run)[before:]
    assert watchers(place, 1)
    lines.close()
    assert watchers(place, 0)
    idle.close()


def watchers(place: Place, count: int) -> bool:
    """Whether so many look on, within a few seconds."""
    deadline = time.monotonic() + 8
    while place.app.state.hub.watchers != count and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(place.app.state.hub.watchers == count)


async def streamed(url: str, run: str) -> AsyncIterator[bytes]:
    """The lines of a stream, with as little work a watcher as can be."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**20)
    writer.write(f"GET /api/v1/runs/{run}/events HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
    try:
        while line := await reader.readline():
            yield line
    finally:
        writer.close()


async def look(url: str, run: str, *, events: int, ready: asyncio.Semaphore) -> list[float]:
    """Seconds between the telling and the seeing of each event."""
    lags: list[float] = []
    async for line in streamed(url, run):
        if line.startswith(b": still") and not lags:
            ready.release()
        if line.startswith(b"data: "):
            lags.append(time.time() - Event.model_validate_json(line.removeprefix(b"data: ")).at)
        if len(lags) == events:
            break
    return lags


async def lag_of_watchers(place: Place, run: str, *, count: int, events: int) -> list[float]:
    """The same for every event of every watcher."""
    ready = asyncio.Semaphore(0)
    looking = [asyncio.create_task(look(place.url, run, events=events, ready=ready)) for _ in range(count)]
    for _ in range(count):
        await ready.acquire()
    for at in range(events):
        event = Event(run=run, at=time.time(), node="propose", round=at, what=Planned(plan="draw"))
        await asyncio.to_thread(place.service.state.events, event)
        await asyncio.sleep(0.2)
    return [lag for lags in await asyncio.gather(*looking) for lag in lags]


@pytest.mark.slow
@pytest.mark.timed
def test_two_hundred_watchers_lag_less_than_a_second(place: Place) -> None:
    run = begun(place)
    lags = sorted(asyncio.run(lag_of_watchers(place, run, count=200, events=7)))
    assert len(lags) == 1400
    assert lags[-1] <= 1.0, f"p50 {lags[700]:.3f} s, worst {lags[-1]:.3f} s"


def test_watchers_share_one_connection(place: Place) -> None:
    run = begun(place)
    lags = asyncio.run(lag_of_watchers(place, run, count=23, events=3))
    assert len(lags) == 69 and max(lags) <= 1.0
    clients = place.service.state.client.client_list()
    assert sum(each["cmd"] == "xread" for each in clients) <= 1


def test_a_watcher_that_fell_behind_fetches_what_it_missed(
    redis: Any, redis_server: Any, tmp_path: Any
) -> None:
    events, total = EventStream(redis), MOST_QUEUED * 2 + 7

    def tell_one(at: int) -> None:
        what = Planned(plan="draw", reason=str(at))
        events(Event(run=RUN, at=0.0, node="n", round=at, what=what))

    async def watched() -> list[str]:
        hub = EventHub(connector(settings_at(redis_server.url, tmp_path)))
        hub.start()
        tell_one(0)
        seen: list[str] = []
        async for frames in hub.watch(RUN, wait_s=2.0):
            seen += [frame.id for frame in frames]
            if len(seen) == 1:
                for at in range(1, total):
                    await asyncio.to_thread(tell_one, at)
                await asyncio.sleep(0.5)
            if len(seen) >= total or not frames:
                break
        await hub.close()
        return seen

    seen = asyncio.run(watched())
    assert seen == [entry.id for entry in events.read(RUN)]
    assert sorted(seen, key=place_of) == seen and len(set(seen)) == total


def test_the_hub_goes_on_when_redis_comes_back(redis: Any, redis_server: Any, tmp_path: Any) -> None:
    events = EventStream(redis)

    async def watched() -> int:
        hub = EventHub(connector(settings_at(redis_server.url, tmp_path)))
        hub.start()
        told, cut = 0, False
        async for frames in hub.watch(RUN, wait_s=0.3):
            told += len(frames)
            if not cut:
                cut = True
                # Every connection but our own is cut.
                redis.client_kill_filter(_type="normal", skipme=True)
                what = Planned(plan="draw")
                await asyncio.to_thread(events, Event(run=RUN, at=0.0, node="n", what=what))
            if told:
                break
        await hub.close()
        return told

    assert asyncio.run(watched()) == 1
