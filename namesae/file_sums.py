"""Sums of files read before, so that gigabytes of weights are not read again to be recognised."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, cast

from tools import keys

if TYPE_CHECKING:
    import redis


class FileSums(MutableMapping[str, str]):
    """Path, size and time of change of a file -> its sha256, in Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def __getitem__(self, file: str) -> str:
        told = cast("bytes | None", self._client.hget(keys.fingerprints(), file))
        if told is None:
            raise KeyError(file)
        return told.decode()

    def __setitem__(self, file: str, held: str) -> None:
        self._client.hset(keys.fingerprints(), file, held)

    def __delitem__(self, file: str) -> None:
        if not self._client.hdel(keys.fingerprints(), file):
            raise KeyError(file)

    def __iter__(self) -> Iterator[str]:
        names = cast("list[Any]", self._client.hkeys(keys.fingerprints()))
        return (name.decode() for name in names)

    def __len__(self) -> int:
        return self._client.hlen(keys.fingerprints())
