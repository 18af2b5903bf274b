"""Who may come in: the scope of every route, and the Host and Origin of every request.

A route declares its scope with ``Depends(access.require("read"))``; handlers read ``access.principal_of``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import urlsplit

from fastapi import Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from namesae.service.errors import NotAllowed
from namesae.service.failures import error_response
from namesae.service.tokens import LOCAL, SESSION_HOURS, Principal, Scope

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Connection

    from namesae.service.service import Service

SESSION_COOKIE = "namesae_session"
NOBODY = "This needs a token: send it as Authorization: Bearer TOKEN, or log in."
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
WHO, GATE = "principal", "gate"
"""Names in ``request.state`` and ``app.state``."""

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="A token of `namesae token add`; scopes read < run < admin.",
)
Given = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


class Gate(NamedTuple):
    """What decides whether a request may pass."""

    service: Service
    local: bool
    """Whether the service listens on this machine alone."""
    names: tuple[str, ...] = ()
    """Host names it answers to, beside localhost and plain addresses."""

    def principal(self, connection: HTTPConnection) -> Principal:
        """Who asks: by bearer token, else by session; NotAllowed (401) for nobody. Asks Redis."""
        tokens = self.service.tokens
        header = connection.headers.get("authorization")
        if header is not None:
            found = tokens.check(_bearer_of(header))
            if found is None:
                raise NotAllowed("The token is unknown, revoked or expired; ask for another.", status=401)
            return found
        session = connection.cookies.get(SESSION_COOKIE)
        found = tokens.check_session(session) if session else None
        if found is not None:
            return found
        if self.local and not tokens.any():
            return LOCAL
        raise NotAllowed(NOBODY, status=401)

    def admitted(self, connection: HTTPConnection, scope: Scope) -> Principal:
        """Who asks, where that is somebody whose token reaches ``scope``; NotAllowed otherwise."""
        principal = self.principal(connection)
        if not principal.reaches(scope):
            raise NotAllowed(
                f"Token {principal.name!r} has scope {principal.scope}; this needs {scope}.", status=403
            )
        return principal


class Require:
    """The dependency of a route that asks for a scope; what it returns is who asks."""

    def __init__(self, scope: Scope) -> None:
        self.scope: Scope = scope

    def __call__(self, request: Request, _: Given = None) -> Principal:
        """Who asks; NotAllowed where that is nobody (401), or may not (403)."""
        return admitted(request, self.scope)


_REQUIRED: dict[Scope, Require] = {"read": Require("read"), "run": Require("run"), "admin": Require("admin")}


def require(scope: Scope) -> Require:
    """The dependency that lets only those in whose token reaches ``scope``: ``Depends(require("read"))``."""
    return _REQUIRED[scope]


def admitted(connection: HTTPConnection, scope: Scope) -> Principal:
    """Who asks, kept for ``principal_of``; NotAllowed where that is nobody, or may not. Asks Redis."""
    principal = gate_of(connection).admitted(connection, scope)
    setattr(connection.state, WHO, principal)
    return principal


def principal_of(connection: HTTPConnection) -> Principal:
    """Who asks, once a route's dependency or ``Guarded`` has let it in."""
    found = getattr(connection.state, WHO, None)
    if not isinstance(found, Principal):
        raise NotAllowed(NOBODY, status=401)
    return found


class Guarded:
    """A mounted application (MCP) behind a scope: it sees who asks by ``principal_of(request)``."""

    def __init__(self, app: ASGIApp, *, gate: Gate, scope: Scope) -> None:
        self.app, self.gate, self.needed = app, gate, scope

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        connection = HTTPConnection(scope)
        try:
            principal = await run_in_threadpool(self.gate.admitted, connection, self.needed)
        except Exception as error:  # noqa: BLE001 - every refusal becomes an answer
            return await error_response(error)(scope, receive, send)
        scope.setdefault("state", {})[WHO] = principal
        await self.app(scope, receive, send)


def open_session(
    request: Request, response: Response, *, secret: str, hours: float = SESSION_HOURS
) -> Principal:
    """Log a browser in: the session's cookie goes on ``response``. NotAllowed (401) for a worthless token."""
    tokens = gate_of(request).service.tokens
    session = tokens.open_session(secret, hours=hours)
    found = None if session is None else tokens.check_session(session)
    if session is None or found is None:
        raise NotAllowed("The token is unknown, revoked or expired; ask for another.", status=401)
    secure = request.url.scheme == "https"
    response.set_cookie(
        SESSION_COOKIE, session, max_age=int(hours * 3600), httponly=True, samesite="strict", secure=secure
    )
    return found


def close_session(request: Request, response: Response) -> None:
    """Log a browser out, here and in its cookies."""
    session = request.cookies.get(SESSION_COOKIE)
    if session:
        gate_of(request).service.tokens.close_session(session)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")


def gate_of(connection: HTTPConnection) -> Gate:
    """The gate of the application that a request came to."""
    gate: Gate = connection.app.state.gate
    return gate


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def refused_host(host: str | None, names: tuple[str, ...]) -> str | None:
    """Why a Host header is refused; None where it is one of ours.

    A page of a stranger that makes its own name point here (DNS rebinding) sends that name. A plain address
    cannot be made to point elsewhere.
    """
    if not host:
        return "The request has no Host header."
    name = _host_name(host)
    if name in ("localhost", *names) or _is_address(name):
        return None
    return f"This service does not answer to the host {name[:100]!r}; start it with --name {name[:100]}."


def refused_origin(method: str, headers: Callable[[str], str | None]) -> str | None:
    """Why a request that changes something is refused; None where it comes from our pages or no browser."""
    if method in SAFE_METHODS:
        return None
    site, origin = headers("sec-fetch-site"), headers("origin")
    if site is not None and site not in ("same-origin", "none"):
        return "Another site's page may not change anything here."
    if origin is not None and urlsplit(origin).netloc.lower() != (headers("host") or "").lower():
        return "Another site's page may not change anything here."
    return None


def _host_name(host: str) -> str:
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _bearer_of(header: str) -> str:
    kind, _, secret = header.partition(" ")
    return secret.strip() if kind.lower() == "bearer" else ""
