"""The application: routers, pages, MCP and what stands before all of them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from namesae import __version__
from namesae.service import (
    access,
    routes_batches,
    routes_dictionaries,
    routes_evals,
    routes_events,
    routes_health,
    routes_images,
    routes_login,
    routes_reviews,
    routes_runs,
    routes_tokens,
)
from namesae.service.api_description import OURS, exact
from namesae.service.api_words import PREFIX
from namesae.service.doorway import Doorway, Rules
from namesae.service.event_hub import EventHub, connector
from namesae.service.failures import error_response
from namesae.service.metrics import Metrics
from namesae.service.warming import Warming

if TYPE_CHECKING:
    from namesae.mcp_server import MountedMcp
    from namesae.service.service import Service

log = logging.getLogger(__name__)

ROUTERS = (
    routes_dictionaries.router,
    routes_runs.router,
    routes_events.router,
    routes_batches.router,
    routes_evals.router,
    routes_reviews.router,
    routes_tokens.router,
    routes_images.router,
    routes_health.router,
)
ABOUT = """Names the features of vision sparse autoencoders, and shows why the name is right.

Send a token as `Authorization: Bearer TOKEN`; without any token a service on loopback is open to its machine.
Errors are `{"error": {"code", "message"}}` with one sentence. Lists come in pages: pass `next` as `cursor`.
"""


class ServeOptions(NamedTuple):
    """How the service is served."""

    host: str = "127.0.0.1"
    port: int = 8765
    """0 takes any free one."""
    names: tuple[str, ...] = ()
    """Host names it answers to, beside localhost and plain addresses."""
    worker: bool | None = None
    """Whether to run a worker beside it; None does on loopback."""
    most_bytes: int = 25 * 2**20
    """Of a request's body."""
    session_hours: float = 12.0
    heartbeat_s: float = 15.0
    """Between the comments that keep a quiet event stream open."""
    stream_s: float = 3600.0
    """An event stream lasts at most; whoever still looks on comes back where it ended."""
    send_s: float = 20.0
    """A watcher may take for one event before it is let go."""
    drain_s: float = 30.0
    """That requests in progress, and the worker's step, may take once asked to stop."""

    @property
    def local(self) -> bool:
        """Whether it is reached from this machine alone."""
        return access.is_loopback(self.host) and not self.names


def create_app(service: Service, *, options: ServeOptions) -> FastAPI:
    """The whole service over one store. ``app.state`` holds service, options, gate, hub and metrics."""
    app = FastAPI(
        title="namesae",
        version=__version__,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: route.name,
        separate_input_output_schemas=False,
    )
    _fill_state(app, service, options)
    for router in ROUTERS:
        app.include_router(router)
    _add_errors(app)
    _add_pages(app, service)
    # After the pages: a login page may bring its own.
    app.include_router(routes_login.router)
    _add_mcp(app, service)
    app.add_middleware(Doorway, rules=Rules(options.names, options.most_bytes), metrics=app.state.metrics)
    describe = app.openapi
    app.openapi = lambda: exact(describe())  # type: ignore[method-assign]
    return app


def _fill_state(app: FastAPI, service: Service, options: ServeOptions) -> None:
    state = app.state
    state.service, state.options, state.metrics = service, options, Metrics()
    state.gate = access.Gate(service, options.local, options.names)
    state.hub = EventHub(connector(service.settings))
    state.standing = routes_events.Standing(service)
    state.warming = Warming(service)


def _add_errors(app: FastAPI) -> None:
    async def answer(request: Request, error: Exception) -> Response:
        told = _page_of(request, error) or error_response(error)
        if told.status_code == 405 and (methods := _methods_at(request)):
            told.headers["Allow"] = ", ".join(sorted(methods))
        return told

    # The errors of our own reach the doorway by themselves, and are answered there.
    for kind in (HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer)


def _methods_at(request: Request) -> set[str]:
    """What can be done at a path, by all routes of the API that lead there."""
    here = [
        route
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and route.path_regex.match(request.url.path)
    ]
    return {method for route in here for method in route.methods or ()}


def _page_of(request: Request, error: Exception) -> Response | None:
    """For a browser that goes where nothing is: a page."""
    wants_page = "text/html" in request.headers.get("accept", "")
    if not wants_page or request.url.path.startswith(OURS):
        return None
    from namesae.pages.page_route import error_page

    return error_page(request, error)


def _add_pages(app: FastAPI, service: Service) -> None:
    from namesae.pages.site import add_pages

    add_pages(app, service, access)  # type: ignore[arg-type]


def _add_mcp(app: FastAPI, service: Service) -> None:
    from namesae.mcp_server import MCP_PATH, mcp_app

    mounted = mcp_app(service, app.state.gate)
    app.state.mcp = mounted
    app.router.routes.append(Route(MCP_PATH, endpoint=mounted.app, methods=["GET", "POST", "DELETE"]))


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    hub: EventHub = app.state.hub
    async with contextlib.AsyncExitStack() as stack:
        hub.start()
        stack.push_async_callback(hub.close)
        app.state.warming.start()
        stack.callback(app.state.warming.wait, 5.0)
        mounted: MountedMcp | None = getattr(app.state, "mcp", None)
        if mounted is not None:
            await stack.enter_async_context(mounted.lifespan())
        yield
