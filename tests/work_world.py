"""A service over a real Redis with recorded runs and made-up evaluations, for tests of what shows them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fastapi.testclient import TestClient

from agent.records import Explanation, Question
from agent.request import Request, RunSettings
from evals.cell import Cell
from evals.results import Expected, ListedCondition, Results, RunRecord
from evals.suite import Suite
from namesae.service.app import ServeOptions, create_app
from namesae.service.service import Service
from namesae.wiring import open_state
from sae.feature import Feature
from tests import eval_report_data
from tests.api_service import settings_at
from tests.recorded_runs import recorded_trace

FEATURES = 3


class World(NamedTuple):
    """A service and a client of its pages."""

    service: Service
    client: TestClient


@contextlib.contextmanager
def world(url: str, home: Path) -> Iterator[World]:
    """Over the Redis at ``url``; nothing is named yet."""
    with open_state(settings_at(url, home)) as state:
        service = Service(state=state, settings=settings_at(url, home))
        app = create_app(service, options=ServeOptions(port=0))
        yield World(service, TestClient(app, base_url="http://localhost", follow_redirects=False))


def request_of(index: int = 0, *, seed: int = 0, review: bool = False, proposer: str = "lexical") -> Request:
    """A request of a feature of the planted dictionary."""
    return Request(
        feature=Feature(dictionary="fake", index=index),
        models="m",
        proposer=proposer,
        settings=RunSettings(seed=seed, review=review),
    )


def told_run(
    service: Service, *, text: str = "striped", index: int = 0, seed: int = 0, proposer: str = "lexical"
) -> Explanation:
    """A finished run in the store, with its events; ``text`` stands wherever anybody could have written."""
    store = service.state.runs
    request = request_of(index, seed=seed, proposer=proposer)
    run = store.begin(request, now=1.79e9 + seed)
    trace = recorded_trace(service.state.images, text=text)
    assert trace.explanation is not None
    told = trace.explanation.model_copy(update={"run": run, "feature": request.feature, "proposer": proposer})
    for event in trace.events:
        service.state.events(event.model_copy(update={"run": run}))
    store.finish(request, told, now=1.79e9 + seed)
    return told


def asked_run(service: Service, *, text: str = "striped", index: int = 3) -> str:
    """A run that waits for a person; its id."""
    store, request = service.state.runs, request_of(index, review=True)
    run = store.begin(request, now=1.79e9)
    trace = recorded_trace(service.state.images, text=text)
    assert trace.explanation is not None
    told = trace.explanation.model_copy(update={"run": run, "feature": request.feature})
    for event in trace.events[:-1]:
        service.state.events(event.model_copy(update={"run": run}))
    question = Question(
        run=run,
        turn=0,
        name=text[:80],
        verdict="named",
        retests_left=3,
        since="2026-11-21T10:00:00+00:00",
        explanation=told,
    )
    store.ask(question, now=1.79e9)
    return run


def filled(
    folder: Path,
    *,
    missing: int = 0,
    features: int = FEATURES,
    dictionary: str = "",
    pictures: tuple[str, ...] = (),
) -> list[Cell]:
    """A folder of results; the last ``missing`` cells are not there.

    ``dictionary``, ``pictures``: instead of theirs, which no store has.
    """
    cells = eval_report_data.cells(features, steps=4)
    if dictionary:
        cells = [
            cell.model_copy(
                update={
                    "feature": cell.feature.model_copy(update={"dictionary": dictionary, "index": at % 8})
                }
            )
            for at, cell in ((int(cell.feature.index), cell) for cell in cells)
        ]
    if pictures:
        cells = [_pictured(cell, pictures) for cell in cells]
    record = RunRecord(
        digest="d",
        version="0.2.0",
        suite=Suite(
            name="sandbox-quick", images=100, sealed=50, folder="", description="Forty <b>features</b>."
        ),
        proposer="lexical",
        control=1000,
        expected=tuple(Expected(condition=cell.condition, feature=cell.feature) for cell in cells),
        conditions=tuple(
            ListedCondition(condition=name, title=title, digest=name)
            for name, title, _, _ in eval_report_data.CONDITIONS
        ),
    )
    results, kept = Results(folder), cells[: len(cells) - missing]
    with results.writing(record):
        for cell in kept:
            results.put(cell)
    return kept


def _pictured(cell: Cell, pictures: tuple[str, ...]) -> Cell:
    steps = tuple(
        step.model_copy(update={"images": tuple(image and pictures[0] for image in step.images)})
        for step in cell.answer.steps
    )
    answer = cell.answer.model_copy(update={"steps": steps})
    if cell.judged is None:
        return cell.model_copy(update={"answer": answer})
    images = tuple(pictures[at % len(pictures)] for at in range(len(cell.judged.images)))
    judged = cell.judged.model_copy(update={"images": images})
    return cell.model_copy(update={"answer": answer, "judged": judged})
