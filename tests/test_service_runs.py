"""Namings asked of the service: accepted before they begin, stopped and resumed, never drawn twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent.records import Explanation
from agent.request import Request, RunSettings
from agent.runs import Drained
from namesae.api import name as name_now
from namesae.service import jobs as jobs_module
from namesae.service.errors import Conflict, NotFound, QueueFull
from namesae.service.jobs import Jobs
from namesae.service.orders import NameOrder
from namesae.service.service import Service
from namesae.settings import load_settings
from namesae.wiring import open_workbench
from tests.served_runs import Served, Working, in_the_first_score, paint_once, planted, until
from tools import keys
from tools.errors import UsageError

CLEAR, DEAD = 4, 8


@pytest.fixture
def served(
    redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Served]:
    paint_once(monkeypatch)
    with planted(monkeypatch, redis_url=redis_server.url, folder=tmp_path) as there:
        yield there


def order(index: int = CLEAR, **changes: Any) -> NameOrder:
    return NameOrder(feature=f"fake#{index}", proposer="lexical", **changes)


def essence(told: Explanation) -> tuple[object, ...]:
    return told.name, told.verdict, told.sealed, told.rivals, told.images.search


def test_a_naming_is_on_record_before_it_begins_and_is_watched_to_its_end(served: Served) -> None:
    runs = served.service.runs
    asked = runs.start(order(), who="ann", key="k")
    assert (asked.state, asked.feature, asked.verdict, asked.limit_images) == ("queued", "fake#4", None, 100)
    assert Jobs(served.state.client).get(asked.run).who == "ann" and runs.events(asked.run) == []
    assert "has not ended" in runs.markdown(asked.run)
    served.work()
    told = runs.status(asked.run)
    assert (told.state, told.name, told.verdict, told.stored) == ("ended", "striped fish", "named", False)
    assert told.search_images == served.explained(asked.run).images.search > 0
    entries = runs.events(asked.run)
    assert (entries[0].event.what.kind, entries[-1].event.what.kind) == ("started", "ended")
    assert told.last_event == entries[-1].id and runs.events(asked.run, after=entries[-2].id) == [entries[-1]]
    assert runs.trace(asked.run).explanation == served.explained(asked.run)
    page = runs.markdown(asked.run)
    assert "**striped fish** is the name of fake\\#4." in page and "## Rivals" in page and "| AUROC |" in page


def test_the_stored_answer_needs_no_job(served: Served) -> None:
    runs, jobs = served.service.runs, Jobs(served.state.client)
    first = runs.start(order(DEAD), who="ann", key="k")
    served.work()
    again = runs.start(order(DEAD), who="ann")
    assert (again.run, again.state, again.stored) == (first.run, "ended", True)
    assert runs.start(order(DEAD), who="ann", key="k").stored is False
    assert runs.start(order(DEAD), who="ann", key="other").stored
    assert runs.start(order(DEAD), who="ann", key="other").stored
    assert len(jobs.list()) == 1 and jobs.waiting() == 0
    with pytest.raises(Conflict, match="Idempotency-Key"):
        runs.start(order(DEAD, seed=3), who="ann", key="k")


def test_again_is_one_new_run_however_many_ask(served: Served) -> None:
    runs = served.service.runs
    first = runs.start(order(DEAD), who="ann")
    served.work()
    with ThreadPoolExecutor(10) as pool:
        told = list(pool.map(lambda _: runs.start(order(DEAD, again=True), who="ann").run, range(50)))
    assert len(set(told)) == 1 and told[0] != first.run
    served.work()
    third = runs.start(order(DEAD, again=True), who="ann", key="k")
    served.work()
    assert runs.start(order(DEAD, again=True), who="ann", key="k").run == third.run != told[0]
    assert [each.run for each in runs.list()] == [third.run, told[0], first.run]


@pytest.mark.parametrize(
    ("asked", "error", "sentence"),
    [
        (NameOrder(feature="fak#1"), NotFound, "Dictionary 'fak' does not exist; there are .*fake"),
        (NameOrder(feature="fake#999"), NotFound, "fake has features 0 to"),
        (NameOrder(feature="fake#1", proposer="openai"), UsageError, "OPENAI_API_KEY is not set"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    served: Served, asked: NameOrder, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        served.service.runs.start(asked, who="ann")
    assert served.state.client.keys("*") == []


def test_no_folder_is_reached_by_its_path(served: Served, tmp_path: Path) -> None:
    from namesae.dictionaries import find_dictionary, shipped_folder

    path = str(shipped_folder() / "sandbox")
    assert find_dictionary(path, served.settings).folder is not None
    with pytest.raises(NotFound):
        served.service.runs.start(NameOrder(feature=f"{path}#1"), who="ann")


def test_an_unknown_price_is_refused_at_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_MODEL", "nobody-knows-it")
    service = Service(load_settings(), served.state)
    with pytest.raises(UsageError, match="price of openai:nobody-knows-it is unknown"):
        service.runs.start(NameOrder(feature="fake#1"), who="ann")


def test_a_full_queue_accepts_nothing(served: Served) -> None:
    runs = served.service.runs
    runs.jobs.most_waiting = 2
    for seed in range(2):
        runs.start(order(DEAD, seed=seed), who="ann")
    with pytest.raises(QueueFull):
        runs.start(order(DEAD, seed=7), who="ann")
    assert len(runs.list()) == 2 and jobs_module.MOST_WAITING == 1000


def test_paused_in_the_queue_it_waits_until_it_is_resumed(served: Served) -> None:
    runs = served.service.runs
    run = runs.start(order(DEAD), who="ann").run
    assert runs.pause(run).state == "paused" == runs.pause(run).state
    served.work()
    assert runs.status(run).state == "paused" and runs.events(run) == []
    assert runs.resume(run, who="bob").state == "queued"
    served.work()
    assert runs.status(run).verdict == "dead"
    for change in (runs.pause, runs.cancel, lambda run: runs.resume(run, who="ann")):
        with pytest.raises(Conflict, match="has ended: dead"):
            change(run)


def test_paused_at_work_it_goes_on_where_it_stopped(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = served.service.runs
    run = runs.start(order(), who="ann").run
    served.work()
    whole = served.explained(run)
    served.state.client.flushdb()
    assert runs.start(order(), who="ann").run == run
    with monkeypatch.context() as patch:
        in_the_first_score(patch, runs.pause)
        served.work()
    paused = runs.status(run)
    assert (paused.state, paused.node, paused.verdict) == ("paused", "score", None)
    assert paused.search_images > 0
    scored = [each.event.what.kind for each in runs.events(run)].count("scored")
    assert scored == 1
    runs.resume(run, who="ann")
    served.work()
    assert essence(served.explained(run)) == essence(whole)
    assert [each.event.what.kind for each in runs.events(run)].count("started") == 2
    assert served.drawn_twice() == []


def test_asking_again_for_a_paused_run_resumes_it(served: Served) -> None:
    runs = served.service.runs
    run = runs.start(order(DEAD), who="ann").run
    runs.pause(run)
    assert runs.start(order(DEAD), who="ann").state == "queued"
    served.work()
    assert runs.status(run).state == "ended"


def test_cancelled_in_the_queue_it_never_begins(served: Served) -> None:
    runs = served.service.runs
    run = runs.start(order(), who="ann").run
    cancelled = runs.cancel(run)
    assert (cancelled.state, cancelled.verdict, cancelled.name) == ("cancelled", "cancelled", None)
    assert Jobs(served.state.client).get(run).state == "cancelled"
    assert [each.event.what.kind for each in runs.events(run)] == ["ended"]
    served.work()
    assert [each.event.what.kind for each in runs.events(run)] == ["ended"]
    assert runs.cancel(run) == cancelled
    assert served.explained(run).code == "on_request"
    with pytest.raises(Conflict):
        runs.resume(run, who="ann")
    anew = runs.start(order(), who="ann")
    assert anew.run != run and anew.state == "queued"


def test_cancelled_at_work_it_ends_within_a_step(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = served.service.runs
    run = runs.start(order(), who="ann").run
    in_the_first_score(monkeypatch, runs.cancel)
    served.work()
    told = runs.status(run)
    assert (told.state, told.verdict) == ("cancelled", "cancelled")
    assert Jobs(served.state.client).get(run).state == "cancelled"
    kinds = [each.event.what.kind for each in runs.events(run)]
    assert kinds.count("scored") == 1 and kinds[-1] == "ended"
    kept = served.explained(run)
    assert kept.evidence is not None and kept.evidence.trials and kept.name is None
    assert kept.images.search == told.search_images > 0
    assert served.state.runs.find(request_of(served, run)) is None


def request_of(served: Served, run: str) -> Request:
    (line,) = served.state.runs.lines([run])
    return line.request


def test_a_run_of_the_command_line_is_seen_paused_and_resumed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, seen = served.service.runs, list[str]()

    def pause(run: str) -> None:
        seen.append(runs.status(run).state)
        runs.pause(run)

    with monkeypatch.context() as patch, pytest.raises(Drained):
        in_the_first_score(patch, pause)
        open_workbench("fake", served.settings, state=served.state).name(CLEAR)
    (status,) = runs.list()
    assert (seen, status.state, status.feature) == (["running"], "paused", "fake#4")
    assert runs.resume(status.run, who="ann").state == "queued"
    served.work()
    assert runs.status(status.run).name == "striped fish"
    assert served.drawn_twice() == []


def test_a_run_that_nobody_works_on_is_stopped_and_can_be_cancelled(served: Served) -> None:
    runs = served.service.runs
    bench = open_workbench("fake", served.settings, state=served.state)
    run = served.state.runs.begin(bench.request(CLEAR), now=time.time())
    assert runs.status(run).state == "stopped"
    with pytest.raises(Conflict, match="is stopped, so there is nothing to pause"):
        runs.pause(run)
    assert runs.cancel(run).state == "cancelled"
    assert name_now("fake#4").run != run
    assert runs.list(state="ended")[0].name == "striped fish"


def test_a_worker_that_is_told_to_leave_gives_its_job_back_to_the_head(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, worker = served.service.runs, None
    first, second = (runs.start(order(seed=seed), who="ann").run for seed in (0, 1))
    until_stopped: list[str] = []

    def stop(run: str) -> None:
        until_stopped.append(run)
        assert worker is not None
        worker.stop_it.number = 15

    with monkeypatch.context() as patch:
        in_the_first_score(patch, stop)
        worker = Working(served.settings)
        worker.join(60)
    assert until_stopped == [first] and not worker.is_alive()
    assert [runs.status(run).state for run in (first, second)] == ["queued", "queued"]
    assert served.state.client.lrange(keys.queue(), 0, -1) == [first.encode(), second.encode()]
    served.work()
    assert {runs.status(run).state for run in (first, second)} == {"ended"} and served.drawn_twice() == []


def test_a_worker_waits_and_serves_one_after_another(served: Served) -> None:
    worker, runs = Working(served.settings), served.service.runs
    asked = [runs.start(order(DEAD, seed=seed), who="ann").run for seed in range(3)]
    until(lambda: all(runs.status(run).state == "ended" for run in asked))
    worker.stop()


def test_lists_are_filtered_and_fast(served: Served) -> None:
    runs = served.service.runs
    bench = open_workbench("fake", served.settings, state=served.state)
    for at in range(60):
        request = bench.request(at % 12).model_copy(update={"settings": RunSettings(seed=at)})
        served.state.runs.begin(request, now=1000.0 + at)
    runs.start(order(DEAD), who="ann")
    served.work()
    assert [each.started for each in runs.list(limit=3)][1:] == [1059.0, 1058.0]
    assert {each.feature for each in runs.list(feature="fake#1")} == {"fake#1"}
    assert len(runs.list(feature="fake#1")) == 5 and runs.list(dictionary="fak") == ()
    assert [each.verdict for each in runs.list(state="ended")] == ["dead"]
    assert [each.started for each in runs.list(before=1002.0)] == [1001.0, 1000.0]
    assert len(runs.list(dictionary="fake", state="stopped", limit=70)) == 60
    assert fastest(lambda: runs.list(limit=50)) < 0.05


def fastest(work: Callable[[], object]) -> float:
    """Processor seconds of the quickest of a few: other work on the machine does not lengthen them much."""
    taken = []
    for _ in range(5):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def test_what_is_not_there_is_said(served: Served) -> None:
    runs = served.service.runs
    for look in (runs.status, runs.trace, runs.events, runs.markdown, runs.pause, runs.cancel):
        with pytest.raises(NotFound, match="'nobody' does not exist"):
            look("nobody")
    run = runs.start(order(DEAD), who="ann").run
    for wrong in ("-", "+", "x", "1-", "1-2-3", ""):
        with pytest.raises(UsageError, match="is not the id of an event"):
            runs.events(run, after=wrong)
