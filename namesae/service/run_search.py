"""Which runs are looked for, and where they are found: all of the store, the latest first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from namesae.service.job_records import RunStatus
from namesae.service.run_states import run_statuses
from namesae.wiring import State
from tools import keys

_PAGE, _LARGEST_PAGE = 50, 5_000
"""Ids read at a time; more and more while none of them is what is looked for."""


class Wanted(NamedTuple):
    """Which runs are looked for."""

    dictionary: str | None
    feature: str | None
    state: str | None

    @property
    def prefix(self) -> str:
        """What their ids begin with; other runs may have it too."""
        name, _, index = (self.feature or f"{self.dictionary or ''}#").rpartition("#")
        text = f"{name}-{index}-" if index else f"{name}-" if name else ""
        return "".join(each if each.isalnum() or each in "-_." else "-" for each in text)

    def has(self, status: RunStatus) -> bool:
        """Whether a run is one of them."""
        return (
            self.dictionary in (None, status.feature.rpartition("#")[0])
            and self.feature in (None, status.feature)
            and self.state in (None, status.state)
        )


def find_runs(
    wanted: Wanted, state: State, *, limit: int, before: float | None = None
) -> tuple[RunStatus, ...]:
    """Runs, the latest first; ``before``: accepted earlier than this, seconds since the epoch."""
    found: list[RunStatus] = []
    for ids in _ids(state, before, limit):
        likely = [run for run in ids if run.startswith(wanted.prefix)]
        found += [each for each in run_statuses(likely, state, readable=True) if wanted.has(each)]
        if len(found) >= limit:
            break
    return tuple(found[:limit])


def _ids(state: State, before: float | None, limit: int) -> Iterator[list[str]]:
    highest, start, page = "+inf" if before is None else f"({before!r}", 0, min(max(limit, 1), _PAGE)
    while True:
        told: Any = state.client.zrevrangebyscore(keys.runs(), highest, "-inf", start=start, num=page)
        if not told:
            return
        yield [each.decode() for each in told]
        start, page = start + len(told), min(2 * page, _LARGEST_PAGE)
