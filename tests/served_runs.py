"""What tests of the service's runs share: a store with planted features, and a worker in this process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from agent import nodes
from agent.records import Explanation
from agent.state import NamingState
from agent.toolbox import Toolbox
from namesae import fake_models
from namesae.service.service import Service
from namesae.settings import Settings, load_settings
from namesae.stopping import Stop
from namesae.wiring import State, open_state
from namesae.worker import run_worker
from tests.command_line import plant
from tools.draw_log import DrawLog
from tools.fakes import FakeExemplars, FakeGenerator, FakeProbe, FakeScorer, fake_probe

STEP_S = 0.6
"""How long a step that is interrupted lasts: longer than it takes to be heard."""


_MAKE = fake_models._Painted
"""Before a test replaces it."""


@cache
def _painted() -> fake_models._Painted:
    return _MAKE()


@cache
def _probe(count: int, seed: int) -> FakeProbe:
    return fake_probe(FakeGenerator(_painted().store), count=count, seed=seed)


_FOUND: list[FakeExemplars] = []


def _exemplars(probe: FakeProbe, score: FakeScorer) -> FakeExemplars:
    _FOUND.extend([] if _FOUND else [FakeExemplars(probe, score)])
    return _FOUND[0]


def paint_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thousand probe and control pictures of the planted dictionary, painted and scored once for all."""
    monkeypatch.setattr(fake_models, "_Painted", _painted)
    monkeypatch.setattr(fake_models, "fake_probe", lambda _, *, count, seed: _probe(count, seed))
    monkeypatch.setattr(fake_models, "FakeExemplars", _exemplars)


class Served(NamedTuple):
    """A service over an empty store."""

    settings: Settings
    state: State
    service: Service

    def work(self) -> None:
        """Carry out all that waits."""
        assert run_worker(self.settings, stop=Stop(), once=True) == 0

    def explained(self, run: str) -> Explanation:
        """What a run that has ended found."""
        row = self.state.runs.row(run)
        assert row is not None and row.explanation is not None
        return row.explanation

    def drawn_twice(self) -> list[str]:
        """Images that were recorded more than once: none, ever."""
        entries = DrawLog(self.state.client).entries()
        recorded = [image for each in entries if each.event == "recorded" for image in each.images]
        return sorted({image for image in recorded if recorded.count(image) > 1})


@contextlib.contextmanager
def planted(monkeypatch: pytest.MonkeyPatch, *, redis_url: str, folder: Path) -> Iterator[Served]:
    """The service over the planted dictionary."""
    plant(monkeypatch, redis_url=redis_url, folder=folder)
    settings = load_settings()
    with open_state(settings) as state:
        yield Served(settings, state, Service(settings, state))


def in_the_first_score(monkeypatch: pytest.MonkeyPatch, act: Callable[[str], object]) -> None:
    """Do something while a run is at its first scoring; ``act`` gets the run's id."""
    score, done = nodes.score, list[str]()

    def scored(state: NamingState, toolbox: Toolbox) -> NamingState:
        if not done:
            done.append(state["run"])
            act(state["run"])
            time.sleep(STEP_S)
        return score(state, toolbox)

    monkeypatch.setattr(nodes, "score", scored)


class Working(threading.Thread):
    """A worker in a thread of its own, until ``stop``."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self.stop_it, self._settings = Stop(), settings
        self.start()

    def run(self) -> None:
        """Work."""
        run_worker(self._settings, stop=self.stop_it)

    def stop(self) -> None:
        """Have it leave."""
        self.stop_it.number = 15
        self.join()


def until(holds: Callable[[], bool], *, limit_s: float = 60.0) -> None:
    """Wait for something."""
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
