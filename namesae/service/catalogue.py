"""The features of a dictionary in memory, one table a process, as fresh as the store at every request."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from namesae.dictionaries import Listed
from namesae.service.catalogue_facts import FactsFiles
from namesae.service.catalogue_lines import Known
from namesae.service.catalogue_rebuild import fill_in
from namesae.service.catalogue_table import Table
from tools import keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

NOTHING = "0-0"
"""Before the first change."""
PAGE = 2000
"""Lines or changes read at once."""


class _News(NamedTuple):
    """What changed since a table was made."""

    last: str
    indices: frozenset[int]


class Catalogue:
    """One dictionary's table. Threads may share it."""

    def __init__(self, client: redis.Redis, listed: Listed, facts: FactsFiles) -> None:
        self.listed, self.facts = listed, facts
        self._client = client
        self._lock = Lock()
        self._held: Table | None = None
        self._is_known = False

    def table(self) -> Table:
        """All features as they are in the store now: one read of Redis where nothing changed.

        The first call reads all lines; so does one that comes after changes it has missed were trimmed.
        """
        held = self._held
        if held is not None and not self._changes(held.last, count=2):
            return held
        with self._lock:
            if self._held is None:
                fill_in(self._client, self.listed.name, n_features=self.listed.n_features)
                self._held = self._load()
            else:
                self._held = self._refreshed(self._held)
            return self._held

    def _changes(self, last: str, *, count: int) -> list[Any]:
        """Changes from ``last`` on, itself left out where it is the only one; it is there unless trimmed."""
        found = cast(
            "list[Any]",
            self._client.xrange(keys.named_changes(self.listed.name), min=last, count=count),
        )
        if not found and last != NOTHING:
            # Not even the last one: the stream was trimmed, or went with the store.
            return [None]
        return [] if len(found) == 1 and found[0][0].decode() == last else found

    def _refreshed(self, held: Table) -> Table:
        news = self._news(held.last)
        if news is None or self._facts_came():
            return self._load()
        if not news.indices:
            return held
        return held.with_lines(self._lines_of(news.indices), last=news.last)

    def _news(self, last: str) -> _News | None:
        """What changed since; None where some of it was trimmed."""
        indices: set[int] = set()
        start = last
        while page := self._changes(start, count=PAGE):
            if page[0] is None or page[0][0].decode() != start:
                return None
            indices |= {int(fields[b"index"]) for _, fields in page[1:]}
            start = page[-1][0].decode()
        return _News(start, frozenset(indices))

    def _facts_came(self) -> bool:
        """Whether facts were worked out since the table was read without them."""
        return not self._is_known and self.facts.known() is not None

    def _load(self) -> Table:
        known = self.facts.known()
        self._is_known = known is not None
        # The mark first: what changes while the lines are read is read once more.
        last = self._last()
        lines = {index: line for page in self._all_lines() for index, line in page.items()}
        return Table.empty(known or self._unknown(), last=last).with_lines(lines, last=last)

    def _last(self) -> str:
        found = cast("list[Any]", self._client.xrevrange(keys.named_changes(self.listed.name), count=1))
        return found[0][0].decode() if found else NOTHING

    def _all_lines(self) -> Iterator[dict[int, bytes]]:
        cursor: Any = 0
        while True:
            cursor, page = cast(
                "tuple[int, dict[bytes, bytes]]",
                self._client.hscan(keys.named(self.listed.name), cursor, count=PAGE),
            )
            yield {int(index): line for index, line in page.items()}
            if not cursor:
                return

    def _lines_of(self, indices: frozenset[int]) -> dict[int, bytes]:
        wanted = sorted(indices)
        told = cast(
            "list[bytes | None]",
            self._client.hmget(keys.named(self.listed.name), [str(index) for index in wanted]),
        )
        return {index: line for index, line in zip(wanted, told, strict=True) if line is not None}

    def _unknown(self) -> Known:
        nothing = np.full(self.listed.n_features, np.nan)
        return Known(nothing, nothing)
