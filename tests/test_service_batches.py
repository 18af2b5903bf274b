"""Batches asked of the service: the same order is the same batch, stopped and resumed, counted exactly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.budget import BatchLimits
from agent.records import Explanation
from agent.survey_log import SurveyLog
from namesae.batch_records import BatchAsk, BatchRow
from namesae.batch_store import BatchStore
from namesae.evaluating import Wanted
from namesae.service import job_runner
from namesae.service.errors import Conflict, NotFound, QueueFull
from namesae.service.job_runner import Ending, JobRunner
from namesae.service.jobs import Jobs
from namesae.service.orders import BatchOrder, EvalOrder
from namesae.service.work_stop import JobStop
from namesae.stopping import Stop
from namesae.wiring import Workbench
from sae.feature import Feature
from tests.command_line import here
from tests.served_runs import Served, in_the_first_score, paint_once, planted
from tools import keys
from tools.errors import UsageError

FEW = "fake#0,8,3"


@pytest.fixture
def served(
    redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Served]:
    paint_once(monkeypatch)
    with planted(monkeypatch, redis_url=redis_server.url, folder=tmp_path) as there:
        yield there


def order(**changes: Any) -> BatchOrder:
    return BatchOrder.model_validate({"selection": FEW, "proposer": "lexical", "survey": 3, **changes})


def test_a_batch_is_on_record_before_it_begins_and_counted_as_it_goes(served: Served) -> None:
    batches = served.service.batches
    asked = batches.start(order(), who="ann", key="k")
    assert (asked.state, asked.asked, asked.done, asked.selection) == ("queued", 3, 0, FEW)
    assert batches.start(order(), who="bob").id == asked.id == batches.start(order(), who="ann", key="k").id
    assert Jobs(served.state.client).waiting() == 1 and batches.list() == (asked,)
    served.work()
    told = batches.get(asked.id)
    assert (told.state, told.done, told.verdicts, told.error) == ("ended", 3, {"named": 2, "dead": 1}, None)
    rows = batches.rows(asked.id)
    assert [row.index for row in rows] == [0, 3, 8]
    surveyed = sum(SurveyLog(served.state.client, asked.id).charged().values())
    assert told.search == sum(row.search for row in rows) + surveyed > surveyed > 0 and told.usd == 0.0
    assert [row.index for row in batches.rows(asked.id, after=0, limit=1)] == [3]
    assert batches.rows(asked.id, after=8) == ()
    # The same again only tells what is there.
    assert batches.start(order(), who="ann").state == "queued"
    served.work()
    assert batches.get(asked.id) == told and served.drawn_twice() == []
    served.state.client.hdel(keys.batch(asked.id), "tallied", "features")
    assert batches.get(asked.id) == told


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"selection": "fak#1"}, NotFound, "'fak' does not exist"),
        ({"selection": "fake#1-999"}, UsageError, "does not exist"),
        ({"selection": "fake"}, UsageError, "names no feature"),
        ({"proposer": "openai"}, UsageError, "OPENAI_API_KEY is not set"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    served: Served, changes: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        served.service.batches.start(order(**changes), who="ann")
    assert served.state.client.keys("*") == []


def test_a_full_queue_accepts_no_batch(served: Served) -> None:
    batches = served.service.batches
    batches.jobs.most_waiting = 0
    with pytest.raises(QueueFull):
        batches.start(order(), who="ann")
    assert batches.list() == ()


@pytest.mark.parametrize("what", ["pause", "cancel"])
def test_stopped_at_work_it_ends_within_a_step(
    served: Served, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    batches = served.service.batches
    batch = batches.start(order(), who="ann").id
    with monkeypatch.context() as patch:
        in_the_first_score(patch, lambda run: getattr(batches, what)(batch))
        served.work()
    told = batches.get(batch)
    assert told.state == {"pause": "paused", "cancel": "cancelled"}[what] and told.done < told.asked
    (run,) = (each for each in served.service.runs.list() if each.feature != "fake#8")
    assert run.state == {"pause": "stopped", "cancel": "cancelled"}[what]
    if what == "pause":
        assert batches.resume(batch).state == "queued"
    else:
        with pytest.raises(Conflict, match="nothing to resume"):
            batches.resume(batch)
        assert batches.start(order(), who="ann").state == "queued"
    served.work()
    assert batches.get(batch).done == 3 and served.drawn_twice() == []


def test_stopped_in_the_queue_it_never_begins(served: Served) -> None:
    batches = served.service.batches
    batch = batches.start(order(), who="ann").id
    assert batches.pause(batch).state == "paused"
    assert batches.cancel(batch).state == "cancelled"
    served.work()
    assert batches.get(batch).done == 0 and served.service.runs.list() == ()
    with pytest.raises(NotFound):
        batches.cancel("nobody")


@pytest.mark.slow
def test_a_limit_of_the_batch_ends_it_and_a_larger_one_goes_on(served: Served) -> None:
    batches = served.service.batches
    batch = batches.start(order(total_images=100), who="ann").id
    served.work()
    stopped = batches.get(batch)
    assert stopped.state == "ended" and "limit of the batch" in (stopped.error or "")
    assert stopped.done < 3 and Jobs(served.state.client).get(batch).exit_code == 4
    assert batches.start(order(total_images=2000), who="ann").id == batch
    served.work()
    assert (batches.get(batch).done, batches.get(batch).error) == (3, None)


@pytest.mark.slow
def test_a_batch_of_the_command_line_is_seen_and_gone_on_with(served: Served) -> None:
    batches = served.service.batches
    assert here("batch", "fake", "--features", "0,8,3", "--batch-images", "100", "--quiet") == 4
    (seen,) = batches.list()
    assert (seen.state, seen.asked) == (None, 3) and seen.done < 3
    with pytest.raises(Conflict, match="begun by a command"):
        batches.pause(seen.id)
    assert batches.resume(seen.id).state == "queued"
    served.work()
    # Its limit was the command's, and is the job's.
    assert "limit of the batch" in (batches.get(seen.id).error or "")


def row(index: int, *, usd: float | None = 0.5) -> BatchRow:
    told = Explanation(
        feature=Feature(dictionary="fake", index=index), name="fish", verdict="weak", confidence=0.3
    )
    return BatchRow.of(told, older=False).model_copy(update={"search": 7, "usd": usd})


def test_a_verdict_is_counted_once_whoever_tells_it(redis: Any) -> None:
    store = BatchStore(redis, "b")
    assert store.tally() is None
    store.begin(BatchAsk(selection="fake#1"), BatchLimits(), now=5.0, features=9)
    for index in (1, 2, 1):
        store.done(row(index))
    tally = store.tally()
    assert tally is not None and (tally.verdicts, tally.search, tally.usd) == ({"weak": 2}, 14, 1.0)
    assert (tally.begun, tally.features, tally.done) == (5.0, 9, 2)
    store.done(row(3, usd=None))
    unpriced = store.tally()
    assert (
        unpriced is not None and unpriced.usd is None and unpriced == unpriced.of_rows(store.rows([1, 2, 3]))
    )


def test_an_evaluation_is_filled_in_its_folder_and_stopped_by_its_job(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, asked = Jobs(served.state.client), list[Wanted]()
    runner = JobRunner(served.settings, served.state, jobs=jobs)

    def fill(wanted: Wanted, settings: Any, *, reporter: Any, stop: Stop) -> int | None:
        asked.append(wanted)
        jobs.halt("mine", "pause")
        for _ in range(50):
            if stop.number is not None:
                return None
            time.sleep(0.1)
        return 0

    monkeypatch.setattr("namesae.evaluating.fill", fill)
    jobs.put(EvalOrder(suite="sandbox-quick", conditions=("ours",)), job_id="mine", who="ann")
    job = jobs.take("w", wait_s=0.0)
    assert job is not None and runner.carry_out(job, Stop()) == Ending("paused")
    assert asked[0].out == served.settings.home / "evals" / "runs" / "mine"
    assert (asked[0].suite, asked[0].only) == ("sandbox-quick", ("ours",))
    assert jobs.get("mine").state == "paused"


def test_an_unknown_suite_fails_its_job_in_a_sentence(served: Served) -> None:
    jobs = Jobs(served.state.client)
    jobs.put(EvalOrder(suite="none-such"), job_id="mine", who="ann")
    served.work()
    told = jobs.get("mine")
    assert told.state == "failed" and "none-such" in (told.error or "") and told.exit_code == 2


def test_the_models_of_two_dictionaries_stay_loaded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = JobRunner(served.settings, served.state, jobs=Jobs(served.state.client))
    opened: list[str] = []
    monkeypatch.setattr(job_runner, "find_dictionary", lambda name, settings: opened.append(name))
    stop = JobStop(Stop())
    benches: dict[str, Workbench] = {}
    for name in ("a", "b", "a", "c", "a", "b"):
        benches[name] = runner._bench(name, served.settings, stop)
    assert opened == ["a", "b", "c", "b"] and runner._bench("b", served.settings, stop) is benches["b"]
