"""Who is working on what right now, so that two processes do not do the same expensive work.

A claim saves work; it guards nothing. One that is lost early costs a repetition, and the first
recorded outcome still wins.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tools import keys

if TYPE_CHECKING:
    import redis

TTL_S = 30.0
"""A claim outlives its holder on another machine by this long; on this machine the holder is looked up."""

_IF_HELD = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call({}) end return false"
_RELEASE = _IF_HELD.format("'del', KEYS[1]")
_RENEW = _IF_HELD.format("'pexpire', KEYS[1], ARGV[2]")
_INHERIT = _IF_HELD.format("'set', KEYS[1], ARGV[2], 'PX', ARGV[3]")


class Claims:
    """Claims on pieces of work of one kind."""

    def __init__(self, client: redis.Redis, kind: str, *, ttl_s: float = TTL_S) -> None:
        self.client, self.kind, self.ttl_s = client, kind, ttl_s

    @contextlib.contextmanager
    def taken(self, wanted: Sequence[str]) -> Iterator[list[str]]:
        """Those of ``wanted`` that nobody else works on: ours, renewed until the block ends."""
        token = new_token()
        ours = self._take(wanted, token)
        ended = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(ours, token, ended), daemon=True)
        try:
            if ours:
                renewal.start()
            yield ours
        finally:
            ended.set()
            if ours:
                renewal.join()
                self._each(_RELEASE, ours, token)

    def held(self, pieces: Sequence[str]) -> frozenset[str]:
        """Those that somebody works on now."""
        with self.client.pipeline(transaction=False) as pipe:
            for piece in pieces:
                pipe.get(self._key(piece))
            holders = cast("list[bytes | None]", pipe.execute())
        found = zip(pieces, holders, strict=True)
        return frozenset(piece for piece, holder in found if holder is not None and not is_dead(holder))

    def _key(self, piece: str) -> str:
        return keys.claim(self.kind, piece)

    def _take(self, wanted: Sequence[str], token: bytes) -> list[str]:
        with self.client.pipeline(transaction=False) as pipe:
            for piece in wanted:
                pipe.set(self._key(piece), token, nx=True, px=int(self.ttl_s * 1000))
            granted = pipe.execute()
        return [
            piece
            for piece, free in zip(wanted, granted, strict=True)
            if free or self._inherits(self._key(piece), token)
        ]

    def _inherits(self, key: str, token: bytes) -> bool:
        holder = cast("bytes | None", self.client.get(key))
        if holder == token:
            # The answer to our own SET was lost and the command repeated.
            return True
        if holder is None or not is_dead(holder):
            return False
        milliseconds = int(self.ttl_s * 1000)
        return bool(self.client.eval(_INHERIT, 1, key, holder, token, milliseconds))

    def _renew(self, ours: list[str], token: bytes, ended: threading.Event) -> None:
        while not ended.wait(self.ttl_s / 3):
            # A claim that cannot be renewed lapses; the work goes on.
            with contextlib.suppress(Exception):
                self._each(_RENEW, ours, token, int(self.ttl_s * 1000))

    def _each(self, script: str, pieces: list[str], *arguments: bytes | int) -> None:
        with self.client.pipeline(transaction=False) as pipe:
            for piece in pieces:
                pipe.eval(script, 1, self._key(piece), *arguments)
            pipe.execute()


def _born(process: int) -> str:
    # Kernel ticks at the start of the process, so that a reused id is not taken for its former owner.
    try:
        state, *facts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie has ended, though nobody has waited for it yet.
    return "" if state in "ZX" else facts[18]


def new_token() -> bytes:
    """What this process writes into claims, so that others can tell whether it lives; another each time."""
    return f"{platform.node()}|{os.getpid()}|{_born(os.getpid())}|{uuid.uuid4().hex}".encode()


def is_dead(holder: bytes) -> bool:
    """Whether the process that wrote a token is known to have ended; False of another machine's."""
    host, process, born, _ = holder.decode().split("|")
    if host != platform.node():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _born(int(process)) != born
