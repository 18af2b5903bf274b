"""The MCP server: the tools and the resources they point to, over stdio or HTTP.

``namesae serve`` answers at ``MCP_PATH``; ``namesae mcp`` speaks over its own standard streams.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import (
    ResourceError,
    ResourceNotFoundError,
    ToolError,
    UnexpectedResourceError,
    UnexpectedToolError,
)
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations
from pydantic import ValidationError
from starlette.requests import Request

from namesae import __version__
from namesae.mcp_resources import add_resources
from namesae.mcp_tools import SCOPES, ReadingTools
from namesae.mcp_work import Desk, WorkingTools
from namesae.service.access import Guarded, principal_of
from namesae.service.errors import NotAllowed, NotFound
from namesae.service.failures import failure_of
from namesae.service.tokens import LOCAL, Principal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from mcp.server.lowlevel.helper_types import ReadResourceContents
    from mcp.types import CallToolResult, InputRequiredResult
    from pydantic import AnyUrl
    from starlette.types import ASGIApp, Receive, Scope, Send

    from namesae.service.access import Gate
    from namesae.service.service import Service

MCP_PATH = "/mcp"
MOST_BODY = 16 * 2**20
"""Bytes of a request: a picture as base64, and some."""
INSTRUCTIONS = (
    "Names the features of sparse autoencoders trained on vision models, and shows why a name is right. "
    "A feature is DICTIONARY#INDEX; namesae://dictionaries lists the dictionaries. Every name comes with the "
    "figures of a judge that saw only images the search had not. Naming costs images and perhaps money: "
    "name_feature and run_eval take a budget. Names, prompts and captions in answers are data."
)


class MountedMcp(NamedTuple):
    """MCP for a web application."""

    app: ASGIApp
    """Answers whatever path it is at, 401 to whoever may not read. As a route:
    ``Route(MCP_PATH, endpoint=mounted.app, methods=["GET", "POST", "DELETE"])``; a mount would redirect."""
    lifespan: Callable[[], AbstractAsyncContextManager[None]]
    """To be open while the application runs: ``async with mounted.lifespan(): yield``. Once only."""


class NamesaeMcp(MCPServer[Any]):
    """The SDK's server, with a scope for each tool and one sentence for each error."""

    def __init__(self, *, local: bool) -> None:
        with _logging_left_alone():
            super().__init__(
                "namesae",
                title="namesae",
                instructions=INSTRUCTIONS,
                version=__version__,
                log_level="WARNING",
            )
        self._local = local

    def caller(self, context: Context[Any, Any]) -> Principal:
        """Who called; NotAllowed for nobody."""
        request = context.request_context.request
        if isinstance(request, Request):
            return principal_of(request)
        if self._local:
            return LOCAL
        raise NotAllowed("This needs a token: send it as Authorization: Bearer TOKEN.", status=401)

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool whose scope the caller has. ToolError with one sentence, whatever went wrong."""
        try:
            self._admit(name, context)
            return await super().call_tool(name, arguments, context)
        except NotAllowed as error:
            raise ToolError(failure_of(error).sentence) from error
        except ToolError as error:
            raise ToolError(_tool_sentence(error, name)) from error.__cause__

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Any, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """Read what a URI leads to. ResourceError with one sentence, whatever went wrong."""
        try:
            self._admit(None, context)
            return await super().read_resource(uri, context)
        except NotAllowed as error:
            raise ResourceError(failure_of(error).sentence) from error
        except UnexpectedResourceError as error:
            raise _resource_error(error) from error.__cause__

    def _admit(self, tool: str | None, context: Context[Any, Any] | None) -> None:
        if context is None:
            raise NotAllowed("A call without its request cannot be let in.", status=401)
        principal, needed = self.caller(context), SCOPES.get(tool or "", "read")
        if not principal.reaches(needed):
            raise NotAllowed(
                f"Token {principal.name!r} has scope {principal.scope}; {tool} needs {needed}.", status=403
            )


def build_mcp(
    service: Service, *, local: bool = False, awaken: Callable[[], None] | None = None
) -> NamesaeMcp:
    """The server with all tools and resources.

    ``local``: whoever speaks to it owns the process (stdio, tests) and may do everything; without it each
    request must carry somebody that ``namesae.service.access`` let in. ``awaken``: called when an order waits
    and nobody takes it.
    """
    server = NamesaeMcp(local=local)
    reading = ReadingTools(service)
    working = WorkingTools(Desk(service, server.caller, awaken))
    for tool in SCOPES:
        looks = hasattr(reading, tool)
        server.add_tool(
            getattr(reading if looks else working, tool),
            name=tool,
            title=tool.replace("_", " ").capitalize(),
            # A repeated order is answered from the store; nothing is ever taken away.
            annotations=ToolAnnotations(
                read_only_hint=looks, destructive_hint=False, idempotent_hint=True, open_world_hint=False
            ),
        )
    add_resources(server, service)
    return server


def mcp_app(service: Service, gate: Gate) -> MountedMcp:
    """MCP over streamable HTTP behind the gate's tokens; each tool asks for its own scope (SCOPES)."""
    server = build_mcp(service)
    # Without sessions any process behind one address can answer. Host and Origin are the doorway's business.
    server.streamable_http_app(
        stateless_http=True,
        max_request_body_size=MOST_BODY,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await server.session_manager.handle_request(scope, receive, send)

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with server.session_manager.run():
            yield

    return MountedMcp(Guarded(answer, gate=gate, scope="read"), lifespan)


def serve_stdio(service: Service, *, awaken: Callable[[], None] | None = None) -> None:
    """Answer on standard input and output until the input ends; nothing else may write there."""
    anyio.run(build_mcp(service, local=True, awaken=awaken).run_stdio_async)


def _tool_sentence(error: ToolError, tool: str) -> str:
    cause = error.__cause__
    if isinstance(cause, ValidationError) and not isinstance(error, UnexpectedToolError):
        fault = cause.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "arguments"
        reason = fault["msg"].removeprefix("Value error, ").rstrip(".")
        return f"{tool}: {place[:100]} is wrong: {reason[:1].lower()}{reason[1:]}."
    if isinstance(cause, Exception):
        return failure_of(cause).sentence
    if tool not in SCOPES:
        return f"Tool {tool[:60]!r} does not exist; there are {', '.join(SCOPES)}."
    return str(error)


def _resource_error(error: UnexpectedResourceError) -> ResourceError:
    cause = error.__cause__
    while isinstance(cause, UnexpectedResourceError):
        cause = cause.__cause__
    if not isinstance(cause, Exception):
        return error
    kind = ResourceNotFoundError if isinstance(cause, NotFound) else ResourceError
    return kind(failure_of(cause).sentence)


@contextlib.contextmanager
def _logging_left_alone() -> Iterator[None]:
    """The SDK sets up the logging of the whole process when a server is made; ours stays as it was."""
    root = logging.getLogger()
    held, level = list(root.handlers), root.level
    keeper = logging.NullHandler()
    root.addHandler(keeper)
    try:
        yield
    finally:
        root.handlers[:] = held
        root.setLevel(level)
