"""Let a thread work out what comes next while the last thing is being used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Full, Queue
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")
WAKE_S = 0.1
"""How often a thread whose reader is gone looks whether it is."""


class _End(NamedTuple):
    """Nothing more comes, because of an error or because it is over."""

    error: BaseException | None


def ahead(items: Iterator[Item], depth: int) -> Iterator[Item]:
    """The same items in order, up to ``depth`` of them made in advance; an error comes where it happened.

    The thread ends when the iterator is closed or collected.
    """
    ready: Queue[Item | _End] = Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_make, args=(items, ready, stop), daemon=True, name="ahead")
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join()


def _make(items: Iterator[Item], ready: Queue[Item | _End], stop: threading.Event) -> None:
    try:
        for item in items:
            if not _put(item, ready, stop):
                return
    except BaseException as error:  # noqa: BLE001 - it is raised again where the items are read
        _put(_End(error), ready, stop)
    else:
        _put(_End(None), ready, stop)


def _put(item: Item | _End, ready: Queue[Item | _End], stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            ready.put(item, timeout=WAKE_S)
        except Full:
            continue
        return True
    return False
