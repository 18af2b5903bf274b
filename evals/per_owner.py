"""What is worked out once for an object and forgotten together with it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerOwner(Generic[T]):
    """Values by owner and key. Owners are told apart by identity and need not be hashable."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[weakref.ref[Any], dict[Hashable, T]]] = {}
        self._lock = RLock()

    def get(self, owner: object, key: Hashable, make: Callable[[], T]) -> T:
        """The value, made when first asked for. Threads wait for each other rather than make it twice."""
        with self._lock:
            values = self._of(owner)
            if key not in values:
                values[key] = make()
            return values[key]

    def __len__(self) -> int:
        """Owners alive."""
        return len(self._kept)

    def _of(self, owner: object) -> dict[Hashable, T]:
        at = id(owner)
        if at not in self._kept:
            self._kept[at] = (weakref.ref(owner, lambda _: self._kept.pop(at, None)), {})
        return self._kept[at][1]
