"""Listening: one process for API, pages and MCP, a worker beside it, and an orderly end on SIGTERM."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from namesae.service.app import ServeOptions, create_app
from namesae.service.attendant import Attendant
from namesae.service.service import Service
from namesae.wiring import open_state
from tools.errors import UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from namesae.settings import Settings

SIGNALS = (signal.SIGINT, signal.SIGTERM)
BACKLOG = 1024
SWITCH_S = 0.001
Say = Callable[[str], None]


def serve(settings: Settings, options: ServeOptions, *, say: Say) -> int:
    """Serve until a signal; the exit code is 128 + its number.

    UsageError where the service would be open to others without a token, or the port is taken;
    DependencyError where Redis is not to be had.
    """
    with open_state(settings) as state:
        service = Service(settings, state)
        refuse_open(service, options)
        with listening(options) as place:
            app = create_app(service, options=options)
            app.state.warming.then = spare_collector
            server = Server(app, options)
            worker = Attendant() if _wants_worker(options) else None
            say(f"Serving {address_of(place, options)}{' with a worker' if worker else ''}; Ctrl-C stops it.")
            return server.serve_until_stopped(place, worker)


def spare_collector() -> None:
    """Keep what is there for good out of every later collection, which would hold up all requests."""
    gc.collect()
    gc.freeze()


def refuse_open(service: Service, options: ServeOptions) -> None:
    """UsageError where somebody from elsewhere could come in without a token."""
    if not options.local and not service.tokens.any():
        where = ", ".join((options.host, *options.names))
        raise UsageError(
            f"Serving {where} lets others in, and there is no token: make one with namesae token add NAME, "
            "or serve this machine alone with --host 127.0.0.1."
        )


def listening(options: ServeOptions) -> socket.socket:
    """A socket that listens; UsageError where the address cannot be had."""
    host = options.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small packets at once only over sockets that are of TCP in so many words.
    place = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((host, options.port))
        place.listen(BACKLOG)
        return place
    except OSError as error:
        place.close()
        raise UsageError(
            f"{options.host}:{options.port} cannot be listened on ({error.strerror}); choose another --port."
        ) from error


def address_of(place: socket.socket, options: ServeOptions) -> str:
    """The URL of a listening socket."""
    host = f"[{options.host.strip('[]')}]" if ":" in options.host else options.host
    return f"http://{host}:{place.getsockname()[1]}"


class Server(uvicorn.Server):
    """A server that lets watchers go when asked to stop, so that it need not wait for them."""

    def __init__(self, app: FastAPI, options: ServeOptions) -> None:
        config = uvicorn.Config(
            app,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=round(options.drain_s),
            backlog=BACKLOG,
        )
        super().__init__(config)
        self._app, self._drain_s = app, options.drain_s
        self._number: int | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; the second time, stop at once."""
        self._number = self._number or sig
        self._app.state.hub.end_streams()
        super().handle_exit(sig, frame)

    def serve_until_stopped(self, place: socket.socket, worker: Attendant | None) -> int:
        """Serve, then stop the worker; 128 + the signal's number, 0 without one."""
        # uvicorn raises the signals that it caught again when it is done, which must not end us midway.
        before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
        # A search computes in a thread of its own; the loop is not to wait 5 ms whenever it wants to go on.
        sys.setswitchinterval(SWITCH_S)
        try:
            if worker is not None:
                worker.start()
            self.run(sockets=[place])
        finally:
            if worker is not None:
                worker.stop(self._drain_s)
            for number, handler in before.items():
                signal.signal(number, handler)
        return 0 if self._number is None else 128 + self._number


def _wants_worker(options: ServeOptions) -> bool:
    return options.local if options.worker is None else options.worker


def log_to_stderr() -> None:
    """Warnings and errors as lines on stderr."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )


def schema_text(settings: Settings) -> str:
    """The OpenAPI description as JSON, sorted: docs/openapi.json. Opens no store."""
    import json

    nothing: Any = None
    app = create_app(Service(settings, nothing), options=ServeOptions())
    return json.dumps(app.openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
