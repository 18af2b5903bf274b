"""120 payloads in all that an LLM, a suite or a result may say of a run or an evaluation: no script runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from evals.cell import Cell
from evals.results import Results
from namesae.service.service import Service
from tests.pages_app import CHROMIUM, fake_service
from tests.watched_page import Watched, watching
from tests.work_world import asked_run, filled, told_run
from tests.xss_payloads import PAYLOADS

FULL_EVERY = 15
"""Payloads of which one is looked at on whole pages; the others in pages put into an open one."""
AT_ONCE = 10

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs chromium (apt install chromium)"),
]


@pytest.fixture(scope="module")
def service(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with fake_service(redis_server.url, tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture(scope="module")
def watched(service: Service) -> Iterator[Watched]:
    with watching(service) as page:
        yield page


def test_every_sink_of_a_run_is_inert(watched: Watched, service: Service) -> None:
    watched.open("/search")
    for seed, payload in enumerate(PAYLOADS):
        run = told_run(service, text=payload, index=seed % 13, seed=seed).run
        paths = [f"/runs/{run}", f"/runs/{run}/live", f"/runs/{run}/calls/0?part=1", f"/runs/{run}/fork"]
        for path in paths:
            assert watched.insert(path) == 200, path
        assert watched.faults == [], payload
        if seed % FULL_EVERY == 0:
            for path in (f"/runs/{run}", f"/runs/{run}/calls/0", f"/runs/{run}/fork", "/runs"):
                assert watched.open(path) == 200, path
            watched.open("/search")
            assert watched.faults == [], payload


def test_every_sink_of_a_review_is_inert(watched: Watched, service: Service) -> None:
    for index, start in enumerate(range(0, len(PAYLOADS), AT_ONCE)):
        payloads = PAYLOADS[start : start + AT_ONCE]
        run = asked_run(service, text=" ".join(payloads), index=index)
        for path in (f"/review/{run}", f"/runs/{run}", "/review?dictionary=fake"):
            assert watched.open(path) == 200, path
        assert watched.faults == [], payloads


def test_every_sink_of_an_evaluation_is_inert(watched: Watched, service: Service) -> None:
    service.evaluations.folders.root.mkdir(parents=True, exist_ok=True)
    folder = service.evaluations.folder("hostile")
    cells = _spoilt(folder, filled(folder, features=12))
    assert {cell.answer.name for cell in cells} >= set(PAYLOADS), "each is the name of an answer"
    for path in ("/evals", "/evals/hostile"):
        assert watched.open(path) == 200, path
        assert watched.faults == [], path
    for other in sorted({cell.condition for cell in cells} - {"agent"}):
        assert watched.open(f"/evals/hostile/compare?a=agent&b={quote(other)}") == 200
        assert watched.faults == [], other
    watched.open("/search")
    for cell in cells:
        asked = f"condition={quote(cell.condition)}&feature={quote(str(cell.feature), safe='')}"
        assert watched.insert(f"/evals/hostile/cell?{asked}") == 200
        assert watched.faults == [], cell.answer.name


def _spoilt(folder: Path, cells: Sequence[Cell]) -> list[Cell]:
    """The results with payloads as names, prompts, notes, reasons, groups, concepts and titles."""
    results = Results(folder)
    record = results.record()
    listed = tuple(
        each.model_copy(update={"title": PAYLOADS[at]}) for at, each in enumerate(record.conditions)
    )
    suite = record.suite.model_copy(update={"description": " ".join(PAYLOADS)})
    made = []
    for at, cell in enumerate(cells):
        text = PAYLOADS[at % len(PAYLOADS)]
        steps = tuple(each.model_copy(update={"text": text, "note": text}) for each in cell.answer.steps)
        answer = cell.answer.model_copy(
            update={"name": text, "verdict": "named", "code": text, "steps": steps}
        )
        truth = cell.truth and cell.truth.model_copy(update={"concept": text})
        changes = {"answer": answer, "title": text, "group": PAYLOADS[at % 3], "truth": truth}
        made.append(cell.model_copy(update=changes))
    with results.writing(record.model_copy(update={"conditions": listed, "suite": suite})):
        for each in made:
            results.put(each)
    return made
