"""The client's calls about runs: start, watch, stop, fork, rule, read the trace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx

from agent.events import Event
from namesae.client_wire import Wire
from namesae.service.api_records import EventEntry, EventPage, ForkRequest, RulingRequest, RunPage
from namesae.service.job_records import RunStatus
from namesae.service.orders import NameOrder
from namesae.traces import Trace
from tools.errors import DependencyError

OVER = ("ended", "failed", "cancelled")
RETRIES = 10
RETRY_S = 1.0


class RunCalls:
    """Namings."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def start(self, order: NameOrder, *, key: str | None = None) -> RunStatus:
        """Name a feature. ``key``: repeated with it, the same order is the same run. NotFound, QueueFull."""
        return self._wire.post(RunStatus, "/runs", order, key=key)

    def list(
        self,
        *,
        dictionary: str | None = None,
        feature: str | None = None,
        state: str | None = None,
        limit: int = 50,
        cursor: float | None = None,
    ) -> RunPage:
        """Runs, latest first."""
        query = {"dictionary": dictionary, "feature": feature, "state": state, "cursor": cursor}
        return self._wire.get(RunPage, "/runs", limit=limit, **query)

    def status(self, run: str) -> RunStatus:
        """How it stands; NotFound."""
        return self._wire.get(RunStatus, _path(run))

    def pause(self, run: str) -> RunStatus:
        """Stop it after the step in progress; Conflict where it has ended."""
        return self._wire.post(RunStatus, f"{_path(run)}/pause")

    def cancel(self, run: str) -> RunStatus:
        """End it; Conflict where it has ended."""
        return self._wire.post(RunStatus, f"{_path(run)}/cancel")

    def resume(self, run: str) -> RunStatus:
        """Go on with it; Conflict where there is nothing to go on with."""
        return self._wire.post(RunStatus, f"{_path(run)}/resume")

    def fork(self, run: str, order: ForkRequest, *, key: str | None = None) -> RunStatus:
        """Start a run from a step of it."""
        return self._wire.post(RunStatus, f"{_path(run)}/fork", order, key=key)

    def rule(self, run: str, ruling: RulingRequest) -> RunStatus:
        """Rule on the name that waits; Conflict where none does."""
        return self._wire.post(RunStatus, f"{_path(run)}/review", ruling)

    def trace(self, run: str) -> Trace:
        """How the name was found; NotFound."""
        return self._wire.get(Trace, f"{_path(run)}/trace")

    def markdown(self, run: str) -> str:
        """The trace as Markdown."""
        return self._wire.text(f"{_path(run)}/trace.md")

    def html(self, run: str) -> str:
        """The trace as one self-contained page."""
        return self._wire.text(f"{_path(run)}/trace.html")

    def log(self, run: str, *, after: str = "0", limit: int = 100) -> EventPage:
        """What has happened so far."""
        return self._wire.get(EventPage, f"{_path(run)}/log", after=after, limit=limit)

    def follow(self, run: str, *, after: str = "0") -> Iterator[EventEntry]:
        """Events as they happen, until the run is over; a connection that breaks is taken up again.

        NotFound; DependencyError where the service stays away.
        """
        tries = 0
        while True:
            try:
                for told in self._follow_once(run, after):
                    if told is None:
                        return
                    after, tries = told.id, 0
                    yield told
            except DependencyError:
                tries += 1
                if tries > RETRIES:
                    raise
            time.sleep(RETRY_S if tries else 0.0)

    def wait(self, run: str) -> RunStatus:
        """How it stands once it is over; one that waits for a review is waited for."""
        for _ in self.follow(run):
            pass
        return self.status(run)

    def _follow_once(self, run: str, after: str) -> Iterator[EventEntry | None]:
        """The events of one connection; None when the run is over."""
        headers = {"Last-Event-ID": after, "Accept": "text/event-stream"}
        patience = httpx.Timeout(30.0)
        with self._wire.stream(f"{_path(run)}/events", headers=headers, timeout=patience) as answer:
            told: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    told[name] = value
                    continue
                if told.get("event") == "end":
                    yield None
                    return
                if "data" in told:
                    yield EventEntry(id=told["id"], event=Event.model_validate_json(told["data"]))
                told = {}


def _path(run: str) -> str:
    return f"/runs/{quote(run, safe='')}"
