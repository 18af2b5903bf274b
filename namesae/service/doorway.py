"""What stands before every route: Host and Origin, size of bodies, security headers, counting."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders

from namesae.service.access import refused_host, refused_origin
from namesae.service.failures import error_response, sentence_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from namesae.service.metrics import Metrics

log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
FOREVER = "public, max-age=31536000, immutable"
MOST_TEXT = 2**20
"""Bytes of a body that is not an upload."""
UPLOADS = ("/mcp",)
"""Paths whose bodies may hold pictures as text; they are read only once the token is known."""


class Rules(NamedTuple):
    """What may pass."""

    names: tuple[str, ...]
    most_bytes: int


class Doorway:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, rules: Rules, metrics: Metrics) -> None:
        self.app, self.rules, self.metrics = app, rules, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or refuse it; either way its answer gets the headers and is counted."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        answer = Answer(scope, send)
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        try:
            if refusal is not None:
                status, sentence = refusal
                await sentence_response(status, sentence)(scope, receive, answer)
            else:
                await self.app(scope, bounded(receive, self._most(scope["path"], headers)), answer)
        except Exception as error:
            if answer.status:
                raise
            await error_response(error)(scope, receive, answer)
        finally:
            answer.count(self.metrics)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        stranger = refused_host(headers.get("host"), self.rules.names)
        if stranger is not None:
            return 400, stranger
        foreign = refused_origin(scope["method"], headers.get)
        if foreign is not None:
            return 403, foreign
        length, most = headers.get("content-length", "0"), self._most(scope["path"], headers)
        if length.isdecimal() and int(length) > most:
            return 413, f"The body has {int(length):,} bytes; at most {most:,} are taken."
        return None

    def _most(self, path: str, headers: Headers) -> int:
        uploads = path in UPLOADS or headers.get("content-type", "").startswith("multipart/form-data")
        return self.rules.most_bytes if uploads else min(MOST_TEXT, self.rules.most_bytes)


class Answer:
    """The way back: adds the headers and remembers the status."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self._send = scope, send
        self.status, self.began, self.endless = 0, time.perf_counter(), False

    async def __call__(self, message: Message) -> None:
        """Send a message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if "cache-control" not in headers:
                headers["cache-control"] = FOREVER if self._is_versioned() else "no-store"
            self.endless = headers.get("content-type", "").startswith("text/event-stream")
        await self._send(message)

    def _is_versioned(self) -> bool:
        # Pages refer to files of static/ with their digest.
        path, query = self.scope["path"], self.scope.get("query_string", b"")
        return bool(self.status == 200 and path.startswith("/static/") and query.startswith(b"v="))

    def count(self, metrics: Metrics) -> None:
        """Tell the metrics, under the route's pattern: the number of series is bounded."""
        route = getattr(self.scope.get("route"), "path", None) or "unmatched"
        seconds = None if self.endless else time.perf_counter() - self.began
        method = self.scope["method"] if self.scope["method"] in METHODS else "OTHER"
        metrics.request(method, route, status=self.status or 499, seconds=seconds)


METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


def bounded(receive: Receive, most: int) -> Receive:
    """``receive``, which fails (413) once a body of undeclared length has become too long."""
    taken = 0

    async def take() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > most:
                raise HTTPException(413, f"The body has more than {most:,} bytes.")
        return message

    return take
