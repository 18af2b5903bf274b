"""MCP clients for tests: in this process, over HTTP with a token, over a child's standard streams."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from namesae.settings import Settings
from namesae.stopping import Stop
from namesae.worker import run_worker
from tests.command_line import ROOT

PNG = b"\x89PNG\r\n\x1a\n"
NAMING = {"feature": "fake#0", "max_images": 40, "cost_limit": 0.0}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "name_feature": {"feature": "nowhere#0", "max_images": 8, "cost_limit": 0},
    "get_feature": {"feature": "fake#0"},
    "search_features": {"text": "striped"},
    "similar_features": {"feature": "fake#0", "by": "name"},
    "top_features_for_image": {"dictionary": "fake", "image": "AAAA"},
    "get_trace": {"run": "none"},
    "run_eval": {"suite": "sandbox-quick", "max_images": 8, "cost_limit": 0},
    "compare_methods": {"evaluation": "none", "a": "agent", "b": "cosine"},
}


class Told(NamedTuple):
    """A tool's answer."""

    error: str | None
    """The sentence, where it is one."""
    answer: Any
    """Its structured content."""
    content: tuple[Any, ...]
    progress: tuple[tuple[float, float | None, str | None], ...]


async def call(client: Client, tool: str, **arguments: Any) -> Told:
    """Call a tool and hear its progress."""
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    result = await client.call_tool(tool, arguments, progress_callback=hear)
    error = result.content[0].text if result.is_error else None  # type: ignore[union-attr]
    return Told(error, result.structured_content, tuple(result.content), tuple(heard))


def talk(server: Any, say: Callable[[Client], Awaitable[Any]], **options: Any) -> Any:
    """What comes of a conversation with a server, or with whatever a client takes for one."""

    async def whole() -> Any:
        async with Client(server, **options) as client:
            return await say(client)

    return asyncio.run(asyncio.wait_for(whole(), 110))


@contextlib.asynccontextmanager
async def over_http(url: str, token: str | None = None) -> AsyncIterator[Any]:
    """A transport to a service, with a bearer token or none."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        streamable_http_client(f"{url}/mcp", http_client=http) as streams,
    ):
        yield streams


def as_child(*arguments: str) -> StdioServerParameters:
    """``namesae mcp`` as clients start it."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))}
    return StdioServerParameters(
        command=sys.executable, args=["-m", "namesae", "mcp", *arguments], env=environ
    )


@contextlib.contextmanager
def working(settings: Settings) -> Iterator[None]:
    """A worker in this process, while the block lasts."""
    stop = Stop()
    thread = threading.Thread(target=run_worker, args=(settings,), kwargs={"stop": stop}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.number = 15
        thread.join(30)
        assert not thread.is_alive()


async def named_and_traced(client: Client) -> tuple[Told, Told, Any, Any]:
    """What a program does first: name a feature, read how, look at a picture and at the whole run."""
    named = await call(client, "name_feature", **NAMING)
    assert named.error is None, named.error
    traced = await call(client, "get_trace", run=named.answer["run"])
    picture = await client.read_resource(named.answer["answer"]["exemplars"][0]["uri"])
    run = await client.read_resource(traced.answer["uri"])
    return named, traced, picture.contents[0], run.contents[0]


def check_naming(named: Told, traced: Told, picture: Any, run: Any) -> None:
    """That it is what it should be, whatever the transport."""
    answer = named.answer["answer"]
    assert (named.answer["state"], answer["name"], answer["verdict"]) == ("ended", "striped", "named")
    assert answer["auroc_ci"]["low"] <= answer["auroc"] <= answer["auroc_ci"]["high"]
    assert 0 < named.answer["search_images"] <= named.answer["max_images"] == 40
    steps = [progress for progress, _, _ in named.progress]
    assert len(steps) >= 3 and all(first < second for first, second in pairwise(steps))
    assert any("sealed judge: striped" in (message or "") for _, _, message in named.progress)
    assert named.answer["uri"] == traced.answer["uri"] == f"namesae://run/{named.answer['run']}"
    nodes = {line["node"] for line in traced.answer["lines"]}
    assert {"observe", "propose", "score", "race", "judge", "record"} <= nodes
    assert traced.answer["prompts"][0]["images"][0]["uri"].startswith("namesae://image/")
    assert picture.mime_type == "image/png" and base64.b64decode(picture.blob).startswith(PNG)
    whole = json.loads(run.text)
    assert whole["explanation"]["name"] == "striped" and len(whole["events"]) == len(traced.answer["lines"])
