"""An endpoint on a bare socket: it sends whatever bytes it is told to, when it is told to, and hangs up."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class Wire(NamedTuple):
    """What is sent for one request, byte for byte."""

    pieces: Sequence[bytes]
    pause: float = 0.0
    """Seconds before each piece."""
    endless: bool = False
    """Whether the last piece is sent again and again, until the other side hangs up."""
    slams: bool = False
    """Whether the connection is reset instead of closed."""


def http(
    body: bytes | str, *, status: str = "200 OK", kind: str = "application/json", **headers: str
) -> Wire:
    """A whole answer; ``headers``: further ones, with '_' for '-'."""
    data = body if isinstance(body, bytes) else body.encode()
    told = {"content-type": kind, "content-length": str(len(data)), "connection": "close"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return Wire((f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + data,))


def stream(*lines: bytes | str, kind: str = "text/event-stream", **how: Any) -> Wire:
    """An answer without a length, line by line."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n".encode()
    data = tuple(line if isinstance(line, bytes) else line.encode() for line in lines)
    return Wire((head, *data), **how)


class RoughEndpoint:
    """Answers the first requests from ``script``, all others with ``usual``."""

    def __init__(self, usual: Wire) -> None:
        self.usual, self.script = usual, list[Wire]()
        self.requests: list[dict[str, Any]] = []
        self._open = True

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Serve until the block ends; the base URL."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(0.05)
            thread = threading.Thread(target=self._listen, args=(listening,), daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
            finally:
                self._open = False
                thread.join()

    def _listen(self, listening: socket.socket) -> None:
        while self._open:
            with contextlib.suppress(TimeoutError):
                other, _ = listening.accept()
                threading.Thread(target=self._answer, args=(other,), daemon=True).start()

    def _answer(self, other: socket.socket) -> None:
        with other, contextlib.suppress(OSError):
            other.settimeout(5.0)
            self.requests.append(_request(other))
            wire = self.script.pop(0) if self.script else self.usual
            for piece in wire.pieces:
                time.sleep(wire.pause)
                other.sendall(piece)
            while wire.endless and self._open:
                time.sleep(max(0.005, wire.pause))
                other.sendall(wire.pieces[-1])
            if wire.slams:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def _request(other: socket.socket) -> dict[str, Any]:
    held = b""
    while b"\r\n\r\n" not in held:
        held += _more(other)
    head, _, body = held.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length")), 0)
    while len(body) < length:
        body += _more(other)
    told = json.loads(body) if body else {}
    return told if isinstance(told, dict) else {}


def _more(other: socket.socket) -> bytes:
    data = other.recv(65536)
    if not data:
        raise OSError("hung up")
    return data
