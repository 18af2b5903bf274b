"""The ledger makes expensive work happen once: outcomes by the hash of everything that determines them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from tools import keys
from tools.digest import digest

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline

_PAGE = 500
"""Entries asked for at once: Redis serves nobody else meanwhile."""


class Ledger:
    """Bytes by kind and key. The first recorded outcome of a piece of work is its outcome."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    @staticmethod
    def key(kind: str, **everything: object) -> str:
        """The name of a piece of work: a hash of its kind and of all that determines its outcome.

        TypeError or ValueError for what JSON cannot say exactly (objects, NaN, lone surrogates).
        """
        return digest(kind=kind, everything=everything)

    def get(self, kind: str, key: str) -> bytes | None:
        """The recorded outcome; None where there is none."""
        return self.get_many(kind, [key])[0]

    def get_many(self, kind: str, wanted: Sequence[str]) -> list[bytes | None]:
        """The recorded outcome of each key, in order."""
        found: list[bytes | None] = []
        for start in range(0, len(wanted), _PAGE):
            names = [keys.ledger(kind, key) for key in wanted[start : start + _PAGE]]
            found += cast("list[bytes | None]", self.client.mget(names))
        return found

    def put(self, kind: str, key: str, outcome: bytes) -> bytes:
        """Record an outcome unless there is one; the one that is recorded now."""
        return self.put_many(kind, {key: outcome})[key]

    def put_many(
        self, kind: str, outcomes: Mapping[str, bytes], *, also: Callable[[Pipeline], None] | None = None
    ) -> dict[str, bytes]:
        """Record the outcomes that are first, in one transaction with ``also``; those recorded now."""
        with self.client.pipeline(transaction=True) as pipe:
            for key, outcome in outcomes.items():
                pipe.set(keys.ledger(kind, key), outcome, nx=True)
            if also is not None:
                also(pipe)
            told = pipe.execute()[: len(outcomes)]
        late = [key for key, was_first in zip(outcomes, told, strict=True) if not was_first]
        earlier = dict(zip(late, self.get_many(kind, late), strict=True))
        return {
            key: outcome if (kept := earlier.get(key)) is None else kept for key, outcome in outcomes.items()
        }

    def forget(
        self, kind: str, dropped: Sequence[str], *, also: Callable[[Pipeline], None] | None = None
    ) -> None:
        """Drop outcomes that turned out to be lost, in one transaction with ``also``."""
        with self.client.pipeline(transaction=True) as pipe:
            for key in dropped:
                pipe.unlink(keys.ledger(kind, key))
            if also is not None:
                also(pipe)
            pipe.execute()
