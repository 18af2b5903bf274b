"""A real OTLP/HTTP receiver on this machine: the spans that were sent to it, as plain records."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


class Sent(NamedTuple):
    """A span as it came."""

    name: str
    trace: str
    id: str
    parent: str
    """Empty for a root."""
    start: float
    """Seconds since the epoch."""
    end: float
    kind: int
    status: int
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Receiver:
    """What came, and the headers it came with."""

    def __init__(self) -> None:
        self.spans: list[Sent] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []

    def named(self, name: str) -> list[Sent]:
        """The spans of a name, oldest first."""
        return sorted((each for each in self.spans if each.name == name), key=lambda each: each.start)

    def one(self, name: str) -> Sent:
        """The only span of a name."""
        (found,) = self.named(name)
        return found

    def parent_of(self, span: Sent) -> Sent:
        """The span it lies in."""
        (found,) = [each for each in self.spans if each.id == span.parent]
        return found

    def take(self, body: bytes) -> None:
        """Read a request's body."""
        self.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            resource = _values(group.resource.attributes)
            self.spans += [_sent(span, resource) for scope in group.scope_spans for span in scope.spans]


@contextlib.contextmanager
def receiving() -> Iterator[tuple[Receiver, str]]:
    """A receiver and its base address."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.paths.append(self.path)
            receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
            receiver.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _sent(span: Any, resource: dict[str, Any]) -> Sent:
    return Sent(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano / 1e9,
        end=span.end_time_unix_nano / 1e9,
        kind=span.kind,
        status=span.status.code,
        attributes=_values(span.attributes),
        resource=resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(told: AnyValue) -> Any:
    return getattr(told, told.WhichOneof("value") or "string_value")
