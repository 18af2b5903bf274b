"""A batch from inside: failures, stops, what it recalls, how it counts and what it says."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.budget import BatchLimits, Limits
from agent.events import EventSink, ignore
from agent.records import Cost, Explanation, ImageCount
from agent.survey import SurveyOutcome
from namesae.batch_call import recall, run_batch
from namesae.batch_lines import duration, progress_line, summary_lines
from namesae.batch_progress import Pace
from namesae.batch_records import (
    BatchAsk,
    BatchLaunch,
    BatchProgress,
    BatchRow,
    BatchSummary,
    Failure,
    Spread,
)
from namesae.batch_store import BatchStore
from namesae.batching import IN_A_ROW, BatchRun
from namesae.dictionaries import find_dictionary
from namesae.settings import load_settings
from namesae.stopping import Interrupted, Stop
from namesae.wiring import State, Workbench, open_state
from sae.feature import Feature
from tests.command_line import plant
from tools.errors import DependencyError, UsageError


@pytest.fixture(autouse=True)
def planted(redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)


class Hearing:
    """A BatchReporter that keeps what it hears."""

    def __init__(self) -> None:
        self.told: list[Explanation] = []
        self.launches: list[BatchLaunch] = []
        self.said: list[str] = []
        self.summary: BatchSummary | None = None

    def launch(self, launch: BatchLaunch) -> None:
        self.launches.append(launch)

    def say(self, text: str) -> None:
        self.said.append(text)

    def drawn(self, images: int, total: int) -> None: ...
    def survey(self, survey: SurveyOutcome) -> None: ...
    def event(self, event: Any) -> None: ...
    def feature(self, explanation: Explanation, progress: BatchProgress) -> None:
        self.told.append(explanation)

    def done(self, summary: BatchSummary) -> None:
        self.summary = summary


class Failing(Workbench):
    """A workbench on which some features fail."""

    broken: dict[int, Exception]

    def name(
        self, index: int, *, again: bool = False, emit: EventSink = ignore, limits: Limits | None = None
    ) -> Explanation:
        if index in self.broken:
            raise self.broken[index]
        return super().name(index, again=again, emit=emit, limits=limits)


@contextmanager
def batch_of(selection: str, broken: dict[int, Exception]) -> Iterator[tuple[BatchRun, Hearing]]:
    settings, heard = load_settings(proposer="lexical"), Hearing()
    state: State
    with open_state(settings) as state:
        bench = Failing(settings, state, listed=find_dictionary("fake", settings))
        bench.broken = broken
        yield BatchRun(BatchAsk(selection=selection, survey=0), bench, BatchLimits(), reporter=heard), heard


def test_one_failure_never_stops_the_others() -> None:
    with batch_of("fake#0,1,8", {1: RuntimeError("no luck")}) as (run, heard):
        run.carry_out(stop=Stop())
        assert {each.feature.index: each.verdict for each in heard.told} == {
            0: "named",
            1: "failed",
            8: "dead",
        }
        assert list(run.failures) == [1] and "no luck" in run.failures[1].why
        # The same command tries it again.
        assert run.store.row(1) is None and run.store.row(0) is not None


def test_when_something_is_down_the_batch_stops() -> None:
    down = DependencyError("the endpoint is down")
    with batch_of("fake#0-5", dict.fromkeys(range(6), down)) as (run, heard):
        with pytest.raises(DependencyError):
            run.carry_out(stop=Stop())
        assert len(heard.told) == IN_A_ROW - 1


def test_a_stop_between_features_is_heard() -> None:
    with batch_of("fake#8,9", {}) as (run, heard):
        stop = Stop()
        stop.number = signal.SIGTERM
        with pytest.raises(Interrupted):
            run.carry_out(stop=stop)
        assert len(heard.told) == 1


def test_a_batch_is_recalled_with_its_own_limits_unless_others_are_given() -> None:
    ask = BatchAsk(selection="fake#8", survey=0, seed=3)
    told = run_batch(ask, BatchLimits(images=500), reporter=Hearing())
    assert told.success
    assert recall(BatchAsk(selection=told.batch), BatchLimits()) == (ask, BatchLimits(images=500))
    assert recall(BatchAsk(selection=told.batch), BatchLimits(usd=1.0)) == (ask, BatchLimits(usd=1.0))
    whole = BatchAsk(selection="fake")
    assert recall(whole, BatchLimits()) == (whole, BatchLimits())
    with pytest.raises(UsageError, match=told.batch):
        recall(BatchAsk(selection="other"), BatchLimits())


def test_another_seed_or_survey_is_another_batch() -> None:
    ids = set()
    for ask in (
        BatchAsk(selection="fake#8"),
        BatchAsk(selection="fake#8", seed=1),
        BatchAsk(selection="fake#8", survey=0),
    ):
        ids.add(run_batch(ask, BatchLimits(), reporter=Hearing()).batch)
    assert len(ids) == 3


def explained(index: int, **changes: Any) -> Explanation:
    told = Explanation(
        feature=Feature(dictionary="fake", index=index),
        name="fish",
        verdict="named",
        confidence=0.5,
        images=ImageCount(search=20, sealed=50, charged=70),
        cost=Cost(usd=0.01, seconds=2.0),
        created="2026-01-01T00:00:00+00:00",
    )
    return told.model_copy(update=changes)


def test_an_answer_older_than_the_batch_is_told_from_one_of_its_own(redis: Any) -> None:
    store = BatchStore(redis, "b")
    store.begin(BatchAsk(selection="fake#1"), BatchLimits(), now=1767225600.0 + 10)
    store.begin(BatchAsk(selection="fake#1"), BatchLimits(images=9), now=1767225600.0 + 10_000)
    assert store.limits == BatchLimits(images=9)
    assert store.is_older(explained(1, stored=True))
    assert not store.is_older(explained(1))
    assert not store.is_older(explained(1, stored=True, created="2026-01-01T00:01:00+00:00"))
    store.done(BatchRow.of(explained(1), older=False))
    store.done(BatchRow.of(explained(1, name="other"), older=True))
    assert [(row.name, row.search) for row in store.rows([0, 1])] == [("fish", 20)]


def test_the_pace_counts_each_feature_once() -> None:
    pace = Pace(4)
    assert pace.progress()._replace(seconds_left=None) == BatchProgress(0, 4, 0, 0, None, None)
    pace.survey(8)
    row = BatchRow.of(explained(1), older=False)
    pace.count(row, fresh=True)
    pace.count(row, fresh=False)
    pace.count(BatchRow.of(explained(2, verdict="unexplained"), older=True), fresh=False)
    told = pace.progress()
    assert (told.done, told.named, told.abstained, told.images) == (2, 1, 1, 12.0)
    assert "2 of 4, 1 named, 1 abstained, 12.0 search images a feature" in progress_line(told)


def test_the_summary_says_what_is_known_and_no_more() -> None:
    summary = BatchSummary(
        success=False,
        exit_code=4,
        asked=8,
        done=5,
        verdicts={"weak": 1, "named": 4},
        failures=(Failure(feature="fake#3", why="a\x1b[31mred\nline"),),
        unasked=2,
        survey=SurveyOutcome(prompts=2, images=8, charged=8),
        survey_share=0.1,
        search=Spread.of([10.0, 20.0, 30.0]),
    )
    told = "\n".join(summary_lines(summary))
    assert "named              4   50 %" in told and told.index("named ") < told.index("weak")
    assert "mean 20.0, median 20.0" in told and "8 images, 10 % of all" in told
    assert "1 failed" in told and "2 were left" in told and "\x1b" not in told
    assert "precision" not in told and "right" not in told
    assert [duration(each) for each in (3, 720, 11_100)] == ["3 s", "12 min", "3 h 5 min"]
