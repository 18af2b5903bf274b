"""MCP clients for tests: in this process, over HTTP with a token, over a child's standard streams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from namesae.settings import Settings
from namesae.stopping import Stop
from namesae.worker import run_worker
from tests.command_line import ROOT


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
