"""The draw log: what was drawn and when, written before each batch, so that a repetition cannot hide."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from sae.feature import Frozen
from tools import keys

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline

DrawEvent = Literal["draw", "recorded", "vanished"]
_PAGE = 500


class DrawEntry(Frozen):
    """One line of the log."""

    event: DrawEvent
    """``draw``: about to be. ``recorded``: in the ledger. ``vanished``: recorded, but its file is gone."""
    batch: str
    """Joins a ``draw`` to its ``recorded``."""
    images: tuple[str, ...]
    """Ledger keys of the images, not their content hashes."""
    run: str
    process: str
    at: float
    """Seconds since the epoch, by the server's clock."""


class DrawLog:
    """The project's one draw log."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def add(
        self,
        event: DrawEvent,
        images: Sequence[str],
        *,
        batch: str,
        run: str,
        pipe: Pipeline | None = None,
    ) -> None:
        """Append a line, now or with the transaction of ``pipe``."""
        fields = {
            "event": event,
            "batch": batch,
            "images": " ".join(images),
            "run": run,
            "process": f"{platform.node()}:{os.getpid()}",
        }
        (self.client if pipe is None else pipe).xadd(keys.draw_log(), cast("dict[Any, Any]", fields))

    def entries(self) -> Iterator[DrawEntry]:
        """Every line, oldest first."""
        start = "-"
        while page := cast("list[Any]", self.client.xrange(keys.draw_log(), start, "+", count=_PAGE)):
            yield from (_entry(*line) for line in page)
            start = f"({page[-1][0].decode()}"


def _entry(line: bytes, fields: dict[bytes, bytes]) -> DrawEntry:
    told: dict[str, Any] = {name.decode(): value.decode() for name, value in fields.items()}
    told["images"] = tuple(told["images"].split())
    return DrawEntry(**told, at=int(line.partition(b"-")[0]) / 1000)


def redrawn(entries: Iterable[DrawEntry]) -> list[str]:
    """Images that were drawn after they had been recorded and while their file was there: none, ever."""
    recorded: set[str] = set()
    guilty: dict[str, None] = {}
    for entry in entries:
        if entry.event == "recorded":
            recorded.update(entry.images)
        elif entry.event == "vanished":
            recorded.difference_update(entry.images)
        else:
            guilty.update(dict.fromkeys(image for image in entry.images if image in recorded))
    return list(guilty)


def interrupted(entries: Iterable[DrawEntry]) -> list[DrawEntry]:
    """Batches begun and never recorded: at most one per kill and one per error of a generator."""
    open_batches: dict[str, DrawEntry] = {}
    for entry in entries:
        if entry.event == "draw":
            open_batches[entry.batch] = entry
        elif entry.event == "recorded":
            open_batches.pop(entry.batch, None)
    return list(open_batches.values())
