"""Workers as processes: killed, told to leave, left by their parent, cut off from Redis; the job goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from agent.records import Explanation
from namesae.service.jobs import Jobs
from namesae.service.orders import NameOrder
from namesae.service.service import Service
from namesae.settings import load_settings
from namesae.wiring import open_state
from tests.command_line import ROOT
from tests.served_runs import Served, planted, until
from tools import keys, redis_server, redis_watch
from tools.draw_log import DrawLog, interrupted, redrawn

CLEAR = "fake#4"


@pytest.fixture
def served(
    redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Served]:
    with planted(monkeypatch, redis_url=redis_server.url, folder=tmp_path) as there:
        yield there


class Process(subprocess.Popen[str]):
    """A worker; killed where it is left over."""

    def __init__(self, *arguments: str, stdin: int | IO[str] | None = subprocess.DEVNULL) -> None:
        super().__init__(
            [sys.executable, "-m", "namesae", "worker", *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=stdin,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        """Wait until it says so."""
        assert self.stderr is not None
        line = self.stderr.readline()
        assert "is ready" in line, line + self.stderr.read()

    def __exit__(self, *_: Any) -> None:
        self.kill()
        self.communicate()


def ask(served: Served, feature: str = CLEAR, *, seed: int = 0) -> str:
    order = NameOrder(feature=feature, proposer="lexical", seed=seed)
    return served.service.runs.start(order, who="ann").run


def finished(served: Served, run: str) -> Explanation:
    until(lambda: served.service.runs.status(run).verdict is not None, limit_s=90)
    return served.explained(run)


def begun(served: Served) -> bool:
    return any(each.event == "recorded" for each in DrawLog(served.state.client).entries())


def undisturbed(served: Served) -> tuple[object, ...]:
    run = ask(served)
    served.work()
    told = finished(served, run)
    served.state.client.flushdb()
    return told.name, told.verdict, told.sealed, told.rivals


def test_once_does_what_waits_and_leaves(served: Served) -> None:
    run = ask(served, "fake#8")
    with Process("--once") as worker:
        out = worker.communicate(timeout=60)[1]
    assert worker.returncode == 0 and f"name {run} is ended." in out
    assert served.service.runs.status(run).verdict == "dead"
    assert Jobs(served.state.client).get(run).worker == f"{os.uname().nodename}:{worker.pid}"


@pytest.mark.parametrize(
    "how", ["SIGTERM", *(pytest.param(each, marks=pytest.mark.slow) for each in ("SIGINT", "parent"))]
)
def test_told_to_leave_it_leaves(served: Served, how: str) -> None:
    with Process(stdin=subprocess.PIPE if how == "parent" else subprocess.DEVNULL) as worker:
        worker.ready()
        if how == "parent":
            assert worker.stdin is not None
            time.sleep(1.2)
            worker.stdin.close()
            worker.stdin = None
        else:
            worker.send_signal(signal.Signals[how])
        assert worker.wait(10) == {"SIGINT": 130}.get(how, 143)


@pytest.mark.slow
@pytest.mark.timed
@pytest.mark.timeout(300)
def test_killed_at_work_another_goes_on_at_once_and_draws_nothing_again(served: Served) -> None:
    whole = undisturbed(served)
    with Process() as first:
        first.ready()
        run = ask(served)
        until(lambda: begun(served))
        # Not waited for: a parent that does not reap must not keep its job.
        first.kill()
        killed = time.monotonic()
        with Process() as second:
            second.ready()
            jobs = Jobs(served.state.client)
            until(lambda: jobs.get(run).worker == f"{os.uname().nodename}:{second.pid}", limit_s=5)
            took = time.monotonic() - killed
            told = finished(served, run)
    assert (told.name, told.verdict, told.sealed, told.rivals) == whole
    entries = list(DrawLog(served.state.client).entries())
    assert redrawn(entries) == [] and len(interrupted(entries)) <= 1
    assert len({each.process for each in entries}) == 2, "it was killed before it began, or after it ended"
    assert took < 20
    until(lambda: jobs.get(run).state == "ended", limit_s=5)
    assert jobs.get(run).tries <= 1 and served.state.client.zcard(keys.taken()) == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_workers_one_killed_again_and_again(served: Served) -> None:
    whole = undisturbed(served)
    runs = [ask(served, seed=seed) for seed in range(3)]
    with Process() as steady:
        steady.ready()
        for _ in range(3):
            with Process() as victim:
                victim.ready()
                time.sleep(1.0)
        told = [finished(served, run) for run in runs]
    assert (told[0].name, told[0].verdict, told[0].sealed, told[0].rivals) == whole
    assert redrawn(DrawLog(served.state.client).entries()) == []
    assert {job.state for job in Jobs(served.state.client).list()} == {"ended"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sigterm_at_work_gives_the_job_back_to_the_head_after_its_step(served: Served) -> None:
    whole = undisturbed(served)
    with Process() as first:
        first.ready()
        run, other = ask(served), ask(served, seed=1)
        until(lambda: begun(served))
        first.terminate()
        out = first.communicate(timeout=30)[1]
    assert first.returncode == 143 and f"name {run} goes back to the queue" in out
    job = Jobs(served.state.client).get(run)
    assert (job.state, job.tries) == ("queued", 0)
    assert served.state.client.lrange(keys.queue(), 0, -1) == [run.encode(), other.encode()]
    with Process("--once") as second:
        second.communicate(timeout=90)
    told = finished(served, run)
    assert (told.name, told.verdict, told.sealed, told.rivals) == whole
    entries = list(DrawLog(served.state.client).entries())
    assert redrawn(entries) == [] and interrupted(entries) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_redis_killed_with_jobs_in_its_queue_loses_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NAMESAE_FAKES", "1")
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    try:
        with open_state(settings) as state:
            served = Served(settings, state, Service(settings, state))
            runs = [ask(served, seed=seed) for seed in range(2)]
            kill_server(settings.home)
            assert [served.service.runs.status(run).state for run in runs] == ["queued", "queued"]
            with Process() as worker:
                worker.ready()
                until(lambda: begun(served))
                kill_server(settings.home)
                told = [finished(served, run) for run in runs]
            assert {each.name for each in told} == {"striped fish"}
            assert redrawn(DrawLog(state.client).entries()) == []
            assert {job.state for job in Jobs(state.client).list()} <= {"ended", "running"}
    finally:
        redis_server.stop(settings.home)


def kill_server(home: Path) -> None:
    """The embedded server and its watcher, at once."""
    server = redis_server.status(home).pid
    watcher = int(redis_watch.recorded(redis_server.server_folder(home))["watcher"])
    assert server is not None
    for process in (server, watcher):
        os.kill(process, signal.SIGKILL)
