"""Live events of a run as server-sent events, from the last one that the watcher knows."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from fastapi import APIRouter, Header, Query
from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from namesae.service.api_words import PREFIX, Reader, RunId, Served
from namesae.service.event_hub import EventHub
from namesae.service.failures import declared
from namesae.service.job_records import RunStatus
from namesae.service.service import Service

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from namesae.service.app import ServeOptions

router = APIRouter(prefix=PREFIX, tags=["runs"])

OVER = frozenset({"ended", "failed", "cancelled"})
FRESH_S = 2.0
"""How a run stands is asked at most this often, however many look on."""
ANEW_S = 0.5
IMPATIENT_S = 0.05
"""To wait for more of a run that is over."""
ENTRY = r"^[0-9]{1,19}(-[0-9]{1,19})?$"
HEARTBEAT = b": still here\n\n"
PART: dict[str, Any] = {
    "type": "object",
    "description": "One of the stream.",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
}
LastEvent = Annotated[str | None, Header(alias="Last-Event-ID", pattern=ENTRY)]
After = Annotated[str | None, Query(pattern=ENTRY, description="As Last-Event-ID, for a first connection.")]


class Pace(NamedTuple):
    """Time limits of a stream, in seconds."""

    heartbeat_s: float
    stream_s: float
    send_s: float


class EventSource(Response):
    """Sends parts as they come, and lets a watcher go that does not take them."""

    media_type = "text/event-stream"

    def __init__(self, parts: AsyncGenerator[bytes, None] | None = None, *, send_s: float = 20.0) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._parts, self._send_s = parts, send_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the parts end, the watcher leaves, or it takes too long over one."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        if self._parts is not None:
            async with contextlib.aclosing(self._parts) as parts:
                async for part in parts:
                    async with asyncio.timeout(self._send_s):
                        await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@router.get(
    "/runs/{run}/events",
    status_code=200,
    response_class=EventSource,
    responses={200: {"content": {"text/event-stream": {"schema": PART}}}, **declared(404, 409)},
)
async def watch_run(
    run: RunId,
    request: Request,
    service: Served,
    _: Reader,
    last: LastEvent = None,
    after: After = None,
) -> EventSource:
    """Events as they happen: `id` names the event, `event` its kind, `data` is the event as JSON.

    A comment every 15 s keeps a quiet stream open. When the run has ended, `end` follows with its status, and
    the stream ends; a stream that was cut continues after `Last-Event-ID`.
    """
    status = await run_in_threadpool(service.runs.status, run)
    state = request.app.state
    options: ServeOptions = state.options
    pace = Pace(options.heartbeat_s, options.stream_s, options.send_s)
    standing: Standing = state.standing
    parts = told(status.run, last or after or "0", hub=state.hub, standing=standing, pace=pace)
    return EventSource(parts, send_s=options.send_s)


class Standing:
    """How runs stand, asked at most every two seconds for all who look on."""

    def __init__(self, service: Service) -> None:
        self._ask: Callable[[str], RunStatus] = lambda run: service.runs.status(run)
        self._known: dict[str, tuple[float, asyncio.Task[RunStatus]]] = {}

    async def of(self, run: str, *, anew: bool = False) -> RunStatus:
        """The run's status, no older than two seconds; asked ``anew`` at most twice a second."""
        now, fresh_s = time.monotonic(), ANEW_S if anew else FRESH_S
        self._known = {name: each for name, each in self._known.items() if now - each[0] < FRESH_S}
        if run not in self._known or now - self._known[run][0] > fresh_s:
            self._known[run] = (now, asyncio.create_task(run_in_threadpool(self._ask, run)))
        return await asyncio.shield(self._known[run][1])


async def told(
    run: str, after: str, *, hub: EventHub, standing: Standing, pace: Pace
) -> AsyncGenerator[bytes, None]:
    """The stream of one watcher: until the run is over, the hub closes, or the time is up."""
    until = time.monotonic() + pace.stream_s
    yield b"retry: 2000\n\n"
    status = await standing.of(run)
    wait_s = IMPATIENT_S if status.state in OVER else min(pace.heartbeat_s, pace.stream_s)
    async with contextlib.aclosing(hub.watch(run, after=after, wait_s=wait_s)) as watched:
        async for frames in watched:
            yield b"".join(frame.wire for frame in frames) or HEARTBEAT
            ended = bool(frames) and frames[-1].kind == "ended"
            if ended or not frames:
                # A worker may have died mute, and a run that ended may have been taken up again.
                status = await standing.of(run, anew=ended)
                if status.state in OVER:
                    yield b"event: end\ndata: " + status.model_dump_json().encode() + b"\n\n"
                    return
            if time.monotonic() > until:
                return


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
