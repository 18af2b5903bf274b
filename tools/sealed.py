"""The sealed partition: which images were judged under which name. Only judges read it.

It gives every later judge the images of other names for nothing: the random-name floor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from tools import keys
from tools.cards import FUNCTION_WORDS, words_of

if TYPE_CHECKING:
    import redis

_JOINS = FUNCTION_WORDS | {"or", "not"}


class Sealed:
    """The judged images of one generator and one seed, by name."""

    def __init__(self, client: redis.Redis, *, generator: str, seed: int) -> None:
        self._client, self._key = client, keys.sealed(generator, seed)

    def add(self, name: str, images: Sequence[str]) -> None:
        """Record the images judged under a name; the first record stays."""
        self._client.hsetnx(self._key, name, json.dumps(list(images)))

    def others(self, name: str, *, top: int) -> dict[str, tuple[str, ...]]:
        """Up to ``top`` names that share no word with ``name``, chosen by hash, and their images."""
        names = [other.decode() for other in cast("list[bytes]", self._client.hkeys(self._key))]
        chosen = unrelated(name, names, top=top)
        held = cast("list[bytes]", self._client.hmget(self._key, chosen)) if chosen else []
        return {other: tuple(json.loads(images)) for other, images in zip(chosen, held, strict=True)}


class SealedInMemory:
    """The same for one process, for tests and runs without Redis."""

    def __init__(self) -> None:
        self._images: dict[str, tuple[str, ...]] = {}

    def add(self, name: str, images: Sequence[str]) -> None:
        """Record the images judged under a name; the first record stays."""
        self._images.setdefault(name, tuple(images))

    def others(self, name: str, *, top: int) -> dict[str, tuple[str, ...]]:
        """Up to ``top`` names that share no word with ``name``, chosen by hash, and their images."""
        return {other: self._images[other] for other in unrelated(name, list(self._images), top=top)}


def unrelated(name: str, names: Sequence[str], *, top: int) -> list[str]:
    """Names that share no content word with ``name``: ``top`` of them, the same whatever the order."""
    mine = set(words_of(name)) - _JOINS
    apart = [other for other in names if not mine.intersection(words_of(other))]
    return sorted(apart, key=lambda other: hashlib.sha256(f"{name}\0{other}".encode()).digest())[:top]
