"""The service under load from a second process, beside a bare FastAPI application that reads one Redis value.

python benchmarks/service_store.py fill --home DIR    # once: 100,000 features
python benchmarks/service_load.py --home DIR [--seconds 20] [--rate 50]

Both servers run all the while; stretches of load alternate between them, so that what else the machine does
befalls both. Latency counts from when a request was due, not from when there was room to send it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from agent.events import Event, EventStream, Planned
from benchmarks.service_store import ADJECTIVES, NAME, NOUNS
from namesae.client import Client, NameOrder
from namesae.settings import Settings
from namesae.wiring import open_state

STRETCHES = 4
TARGET_RATIO, TARGET_GRID_S, TARGET_LAG_S = 3.0, 1.0, 1.0
VALUE = "benchmark:bare"
BARE = """
import sys, uvicorn, redis.asyncio
from fastapi import FastAPI, Response
app, store = FastAPI(), redis.asyncio.Redis.from_url(sys.argv[1])
@app.get("/value/{size}")
async def value(size: int) -> Response:
    return Response(await store.get(f"benchmark:bare:{size}"), media_type="text/html")
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)
"""


class Load(NamedTuple):
    """How hard and how long."""

    rate: float
    """Requests a second."""
    seconds: float
    """A stretch."""


class Question(NamedTuple):
    """One kind of request."""

    what: str
    path: Callable[[random.Random], str]
    part: float = 1.0
    """Of the rate."""


QUESTIONS = (
    Question("feature page (HTML)", lambda rng: f"/d/{NAME}/{rng.randrange(100_000)}"),
    Question("feature (API)", lambda rng: f"/api/v1/dictionaries/{NAME}/features/{rng.randrange(100_000)}"),
    Question(
        "grid page (API)",
        lambda rng: f"/api/v1/dictionaries/{NAME}/features?sort=auroc&cursor={rng.randrange(99_000)}",
    ),
    Question("grid page (HTML)", lambda rng: f"/d/{NAME}?cursor={rng.randrange(99_000)}"),
    Question("search by name (API)", lambda rng: f"/api/v1/search?q={words(rng)}&dictionary={NAME}", 0.2),
)


def words(rng: random.Random) -> str:
    """What people type."""
    return f"{rng.choice(ADJECTIVES)}%20{rng.choice(NOUNS)}"


def share(seconds: list[float], part: float) -> float:
    """A quantile, in ms."""
    return 1000 * sorted(seconds)[min(len(seconds) - 1, int(part * len(seconds)))]


def told(seconds: list[float]) -> str:
    """p50, p95 and p99 as text."""
    p50, p95, p99 = (share(seconds, part) for part in (0.5, 0.95, 0.99))
    return f"p50 {p50:7.1f}  p95 {p95:7.1f}  p99 {p99:7.1f} ms  n {len(seconds)}"


async def due(client: httpx.AsyncClient, path: str, at: float) -> float:
    """Seconds from when a request was due until its answer was there."""
    await asyncio.sleep(max(0.0, at - time.perf_counter()))
    answer = await client.get(path)
    answer.raise_for_status()
    return time.perf_counter() - at


async def open_loop(url: str, paths: Iterator[str], load: Load) -> list[float]:
    """Requests at their times, whether or not those before are answered."""
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, limits=limits) as client:
        began = time.perf_counter() + 0.2
        count = int(load.rate * load.seconds)
        waiting = [due(client, next(paths), began + at / load.rate) for at in range(count)]
        return list(await asyncio.gather(*waiting))


async def closed_loop(url: str, paths: Iterator[str], *, seconds: float, clients: int = 8) -> list[float]:
    """Each client asks again as soon as it is answered."""
    until, found = time.perf_counter() + seconds, []

    async def ask(client: httpx.AsyncClient) -> None:
        while time.perf_counter() < until:
            found.append(await due(client, next(paths), time.perf_counter()))

    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        await asyncio.gather(*(ask(client) for _ in range(clients)))
    return found


def paths_of(question: Question, seed: int) -> Iterator[str]:
    """Its requests."""
    rng = random.Random(seed)
    while True:
        yield question.path(rng)


def same(path: str) -> Iterator[str]:
    """One request, again and again."""
    while True:
        yield path


@contextlib.contextmanager
def service(home: Path) -> Iterator[str]:
    """The service as shipped, without a worker: its URL."""
    chosen = {"NAMESAE_HOME": str(home), "NAMESAE_FAKES": "1", "NAMESAE_PROPOSER": "lexical"}
    command = [sys.executable, "-m", "namesae", "serve", "--port", "0", "--no-worker"]
    process = subprocess.Popen(command, env={**os.environ, **chosen}, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://\S+:\d+", line)
        if found is None:
            raise SystemExit(line + process.stderr.read())
        yield found[0]
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def bare(redis_url: str, port: int) -> Iterator[str]:
    """The application beside it."""
    process = subprocess.Popen([sys.executable, "-c", BARE, redis_url, str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(url, trust_env=False)
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def until_up(url: str) -> None:
    """Wait until the service answers."""
    for _ in range(600):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                return
        time.sleep(0.1)


def compare(question: Question, ours: str, theirs: str, *, store: Any, load: Load) -> None:
    """One kind of request against the bare application that gives as many bytes."""
    load = Load(question.part * load.rate, load.seconds)
    size = len(httpx.get(ours + next(paths_of(question, 1)), trust_env=False, timeout=60).content)
    store.set(f"{VALUE}:{size}", b"x" * size)
    here: list[float] = []
    there: list[float] = []
    for url, paths in ((ours, paths_of(question, 98)), (theirs, same(f"/value/{size}"))):
        asyncio.run(open_loop(url, paths, load._replace(seconds=1.0)))
    for stretch in range(STRETCHES):
        here += asyncio.run(open_loop(ours, paths_of(question, stretch), load))
        there += asyncio.run(open_loop(theirs, same(f"/value/{size}"), load))
    ratio = share(here, 0.99) / share(there, 0.99)
    mark = f"  (target {TARGET_RATIO:g})" if question.part == 1.0 else "  (target: p95 150 ms)"
    print(f"{question.what}, {size:,} bytes, {load.rate:g} requests/s")
    print(f"  service {told(here)}\n  bare    {told(there)}\n  ratio of the p99s {ratio:.1f}{mark}")
    for name, url, paths in (
        ("service", ours, paths_of(question, 99)),
        ("bare", theirs, same(f"/value/{size}")),
    ):
        found = asyncio.run(closed_loop(url, paths, seconds=load.seconds))
        print(f"  {name:<7} 8 clients at once: {len(found) / load.seconds:6.0f} requests/s  {told(found)}")


async def looked(url: str, run: str, *, events: int, ready: asyncio.Semaphore) -> list[float]:
    """Seconds by which a watcher lags, by event."""
    place, lags = urlsplit(url), []
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**20)
    writer.write(f"GET /api/v1/runs/{run}/events HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
    async for line in reader:
        if line.startswith(b"retry"):
            ready.release()
        if line.startswith(b"data: "):
            lags.append(time.time() - Event.model_validate_json(line.removeprefix(b"data: ")).at)
        if len(lags) == events:
            break
    writer.close()
    return lags


async def watched(url: str, run: str, tell: EventStream, *, watchers: int, events: int) -> list[float]:
    """The lags of all watchers."""
    ready = asyncio.Semaphore(0)
    looking = [asyncio.create_task(looked(url, run, events=events, ready=ready)) for _ in range(watchers)]
    for _ in range(watchers):
        await ready.acquire()
    await asyncio.sleep(1.0)
    for at in range(events):
        event = Event(run=run, at=time.time(), node="propose", round=at, what=Planned(plan="draw"))
        await asyncio.to_thread(tell, event)
        await asyncio.sleep(0.1)
    return [lag for lags in await asyncio.gather(*looking) for lag in lags]


def measure(home: Path, load: Load) -> None:
    """All of it."""
    with open_state(Settings(home=home)) as state, service(home) as ours:
        until_up(ours)
        began = time.perf_counter()
        httpx.get(f"{ours}/d/{NAME}", trust_env=False, timeout=60).raise_for_status()
        first = time.perf_counter() - began
        print(f"first grid after the start: {first:.2f} s (target {TARGET_GRID_S:g} s)")
        path = state.client.connection_pool.connection_kwargs["path"]
        with bare(f"unix://{path}", free_port()) as theirs:
            for question in QUESTIONS:
                compare(question, ours, theirs, store=state.client, load=load)
        with Client(ours) as client:
            order = NameOrder(feature="fake#0", seed=random.randrange(2**31))
            run = client.runs.start(order).run
            lags = asyncio.run(watched(ours, run, EventStream(state.client), watchers=200, events=20))
            client.runs.cancel(run)
        print(f"200 watchers, 20 events: {told(lags)}, worst {max(lags):.2f} s (target {TARGET_LAG_S:g} s)")


def free_port() -> int:
    """A port that nobody listens on now."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as place:
        return int(place.getsockname()[1])


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5.0, help=f"a stretch; there are {STRETCHES} a kind")
    given = parser.parse_args()
    measure(given.home.absolute(), Load(given.rate, given.seconds))


if __name__ == "__main__":
    main()
