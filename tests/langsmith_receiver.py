"""A fake LangSmith on this machine: the runs that were sent to it."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ABOUT = {
    "version": "0.1",
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 16,
        "scale_down_nempty_trigger": 4,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
    },
}


class Received:
    """What came."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        """By id, without what went in and came out."""
        self.bytes = b""
        self.keys: set[str] = set()

    def take(self, kind: str, body: bytes) -> None:
        """A multipart body: a run in its part 'post.ID', its input in 'post.ID.inputs'."""
        self.bytes += body
        head = f"content-type: {kind}\r\n\r\n".encode()
        message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
        for part in message.iter_parts():
            name = str(part.get_param("name", header="content-disposition")).split(".")
            if len(name) == 2:
                told: Any = part.get_payload(decode=True)
                self.runs.setdefault(name[1], {}).update(json.loads(told))


@contextlib.contextmanager
def listening_for_runs() -> Iterator[tuple[Received, str]]:
    """The receiver and its address."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, ABOUT)

        def do_POST(self) -> None:
            length = self.headers.get("content-length")
            body = self.rfile.read(int(length)) if length else self._chunks()
            received.keys.add(self.headers.get("x-api-key", ""))
            received.take(self.headers["content-type"], body)
            self._answer(202, {})

        def _chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline().strip(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _answer(self, status: int, told: Any) -> None:
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
