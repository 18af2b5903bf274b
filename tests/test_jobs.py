"""The queue: nothing accepted is lost, nothing is done by two at once, and no order is taken twice."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis as redis_module
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from namesae.service.errors import Conflict, NotFound, QueueFull
from namesae.service.job_leases import MOST_TRIES, LeaseLost
from namesae.service.job_records import Halt, Job, JobState
from namesae.service.jobs import Jobs
from namesae.service.orders import EvalOrder, NameOrder, RuleOrder
from namesae.service.work_stop import JobStop, kept_alive
from namesae.stopping import Stop
from tools import keys
from tools.errors import IntegrityError

ROOT = Path(__file__).parent.parent
IDS = ("a", "b", "c", "d")
MOST = 3
OVER = ("paused", "ended", "failed", "cancelled")


def order(seed: int = 0) -> NameOrder:
    return NameOrder(feature="fake#0", seed=seed)


@pytest.fixture
def jobs(redis: redis_module.Redis) -> Jobs:
    return Jobs(redis, sweep_s=0.0)


def outcome(call: Callable[[], Job]) -> str:
    """The state that a call left, or the error it raised."""
    try:
        return call().state
    except (Conflict, NotFound, QueueFull) as error:
        return type(error).__name__


class Model:
    """What the queue should be, without a store."""

    def __init__(self) -> None:
        self.state: dict[str, JobState] = {}
        self.halt: dict[str, Halt] = {}
        self.tries: dict[str, int] = {}
        self.holder: dict[str, int] = {}
        self.queue: list[str] = []

    def put(self, job: str) -> str:
        if job not in self.state or self.state[job] in OVER:
            if len(self.queue) >= MOST:
                return "QueueFull"
            self._enter(job)
            self.halt.pop(job, None)
        return self.state[job]

    def _enter(self, job: str) -> None:
        self.state[job], self.tries[job] = "queued", 0
        self.queue.append(job)

    def take(self, worker: int) -> str | None:
        if not self.queue:
            return None
        job = self.queue.pop(0)
        self.state[job], self.holder[job] = "running", worker
        return job

    def leave(self, job: str, state: JobState) -> None:
        self.state[job] = state
        del self.holder[job]
        if state == "queued":
            self.queue.insert(0, job)
        else:
            self.halt.pop(job, None)

    def die(self, worker: int) -> None:
        """Jobs are swept in the order they were taken, each to the head."""
        for job in [job for job, holder in self.holder.items() if holder == worker]:
            del self.holder[job]
            self.tries[job] += 1
            if self.tries[job] >= MOST_TRIES:
                self.state[job] = "failed"
                self.halt.pop(job, None)
            else:
                self.state[job] = "queued"
                self.queue.insert(0, job)

    def stop(self, job: str, what: Halt) -> str:
        state = self.state.get(job)
        stopped: JobState = "cancelled" if what == "cancel" else "paused"
        idle = ("queued", "waiting", "paused", "failed") if what == "cancel" else ("queued",)
        if state is None:
            return "NotFound"
        if state == "running":
            self.halt[job] = "cancel" if self.halt.get(job) == "cancel" else what
        elif state in idle:
            self.queue = [each for each in self.queue if each != job]
            self.state[job] = stopped
            self.halt.pop(job, None)
        elif state != stopped:
            return "Conflict"
        return self.state[job]

    def resume(self, job: str) -> str:
        state = self.state.get(job)
        if state is None:
            return "NotFound"
        if state == "running" and self.halt.get(job) != "cancel":
            self.halt.pop(job, None)
        elif state in ("paused", "failed"):
            if len(self.queue) >= MOST:
                return "QueueFull"
            self._enter(job)
            self.halt.pop(job, None)
        elif state != "queued":
            return "Conflict"
        return self.state[job]


class Queue(RuleBasedStateMachine):
    """The queue beside its model, step by step."""

    client: redis_module.Redis

    def __init__(self) -> None:
        super().__init__()
        self.client.flushdb()
        self.model = Model()
        self.asking = Jobs(self.client, most_waiting=MOST)
        self.workers = [self.worker(), self.worker()]

    def worker(self) -> Jobs:
        return Jobs(self.client, sweep_s=0.0)

    @rule(job=st.sampled_from(IDS))
    def put(self, job: str) -> None:
        assert outcome(lambda: self.asking.put(order(), job_id=job, who="x")) == self.model.put(job)

    @rule(worker=st.integers(0, 1))
    def take(self, worker: int) -> None:
        told = self.workers[worker].take(f"w{worker}", wait_s=0.0)
        assert (None if told is None else told.id) == self.model.take(worker)

    @precondition(lambda self: self.model.holder)
    @rule(data=st.data(), state=st.sampled_from(["ended", "failed", "waiting", "paused", "queued"]))
    def leave(self, data: st.DataObject, state: JobState) -> None:
        job = data.draw(st.sampled_from(sorted(self.model.holder)))
        worker = self.model.holder[job]
        with pytest.raises(LeaseLost):
            self.workers[1 - worker].leave(job, state)
        self.workers[worker].leave(job, state)
        self.model.leave(job, state)

    @precondition(lambda self: self.model.holder)
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.model.holder)))
        assert self.workers[self.model.holder[job]].beat(job) == self.model.halt.get(job)

    @rule(worker=st.integers(0, 1))
    def die(self, worker: int) -> None:
        """Its leases run out; whoever looks next finds its jobs."""
        mine = [job for job, holder in self.model.holder.items() if holder == worker]
        for job in mine:
            self.client.delete(keys.claim("job", job))
            # One after another, as the times of the sweeps are.
            self.workers[1 - worker]._sweep()
            self.model_dies(job)
        stale, self.workers[worker] = self.workers[worker], self.worker()
        for job in mine:
            with pytest.raises(LeaseLost):
                stale.beat(job)

    def model_dies(self, job: str) -> None:
        worker = self.model.holder[job]
        others = {each: w for each, w in self.model.holder.items() if w == worker and each != job}
        for each in others:
            del self.model.holder[each]
        self.model.die(worker)
        self.model.holder.update(others)

    @rule(job=st.sampled_from(IDS), what=st.sampled_from(["pause", "cancel"]))
    def halt(self, job: str, what: Halt) -> None:
        assert outcome(lambda: self.asking.halt(job, what)) == self.model.stop(job, what)

    @rule(job=st.sampled_from(IDS))
    def resume(self, job: str) -> None:
        assert outcome(lambda: self.asking.resume(job)) == self.model.resume(job)

    @invariant()
    def same(self) -> None:
        held = {job.id: job for job in self.asking.list()}
        assert {name: job.state for name, job in held.items()} == self.model.state
        assert {name: job.halt for name, job in held.items() if job.halt} == self.model.halt
        assert {name: job.tries for name, job in held.items()} == self.model.tries
        told: Any = self.client.lrange(keys.queue(), 0, -1)
        queue = [each.decode() for each in told]
        assert queue == self.model.queue and self.asking.waiting() == len(queue)


def check(client: redis_module.Redis, *, examples: int, steps: int) -> None:
    limits = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    run_state_machine_as_test(type("Here", (Queue,), {"client": client}), settings=limits)


def test_the_queue_is_what_the_model_says(redis: redis_module.Redis) -> None:
    check(redis, examples=40, steps=30)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_queue_is_what_the_model_says_for_long(redis: redis_module.Redis) -> None:
    check(redis, examples=300, steps=60)


def test_one_key_is_one_job_however_often_it_is_sent(jobs: Jobs) -> None:
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(jobs.put, order(), job_id=f"job-{at}", who="x", key="k") for at in range(50)]
    told = {each.result().id for each in asked}
    assert len(told) == 1 and jobs.waiting() == 1 and len(jobs.list()) == 1
    with pytest.raises(Conflict, match="another order"):
        jobs.put(order(seed=1), job_id="other", who="x", key="k")
    assert jobs.put(order(seed=1), job_id="theirs", who="y", key="k").id == "theirs"
    assert (
        jobs.recall(order(), who="x", key="k") is not None and jobs.recall(order(), who="x", key="z") is None
    )


def test_the_same_job_asked_for_fifty_times_is_queued_once(jobs: Jobs) -> None:
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: jobs.put(order(), job_id="one", who="x"), range(50)))
    assert jobs.waiting() == 1


def test_the_bound_is_strict(redis: redis_module.Redis) -> None:
    jobs = Jobs(redis, most_waiting=7)

    def put(at: int) -> str:
        return outcome(lambda: jobs.put(order(), job_id=f"job-{at}", who="x"))

    with ThreadPoolExecutor(20) as pool:
        told = list(pool.map(put, range(50)))
    assert (told.count("queued"), told.count("QueueFull"), jobs.waiting()) == (7, 43, 7)
    with pytest.raises(QueueFull, match="7 jobs wait") as full:
        jobs.require_room()
    assert full.value.retry_after_s > 0 and full.value.exit_code == 4


def test_each_job_is_taken_by_one_worker(redis: redis_module.Redis, jobs: Jobs) -> None:
    for at in range(23):
        jobs.put(order(), job_id=f"job-{at}", who="x")
    taken: list[str] = []

    def work(worker: int) -> None:
        mine = Jobs(redis)
        while (job := mine.take(f"w{worker}", wait_s=0.0)) is not None:
            taken.append(job.id)
            mine.leave(job.id, "ended")

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"job-{at}" for at in range(23))
    assert {job.state for job in jobs.list(limit=100)} == {"ended"}


def test_a_job_that_kills_its_workers_is_given_up(redis: redis_module.Redis, jobs: Jobs) -> None:
    jobs.put(order(), job_id="poison", who="x")
    jobs.put(order(), job_id="other", who="x")
    for tries in range(1, MOST_TRIES + 1):
        taken = jobs.take("w", wait_s=0.0)
        assert taken is not None and (taken.id, taken.tries) == ("poison", tries - 1)
        redis.delete(keys.claim("job", "poison"))
    after = jobs.take("w", wait_s=0.0)
    assert after is not None and after.id == "other"
    poison = jobs.get("poison")
    assert (poison.state, poison.tries, poison.exit_code) == ("failed", 3, 1)
    assert "3 workers died" in (poison.error or "")
    again = jobs.resume("poison")
    assert (again.state, again.tries, again.error) == ("queued", 0, None)


def test_who_comes_further_each_time_is_no_poison(redis: redis_module.Redis, jobs: Jobs) -> None:
    jobs.put(order(), job_id="long", who="x")
    for _ in range(MOST_TRIES + 3):
        assert jobs.take("w", wait_s=0.0) is not None
        jobs.moved_on("long")
        redis.delete(keys.claim("job", "long"))
    assert jobs.get("long").state == "running"


HOLDER = """
import sys, time
from pathlib import Path
from namesae.service.jobs import Jobs
from tools.redis_client import connect
print(Jobs(connect(sys.argv[1], Path())).take("w", wait_s=5).id, flush=True)
time.sleep(60)
"""


def test_the_job_of_a_killed_process_is_there_at_once(jobs: Jobs, redis_server: Any) -> None:
    jobs.put(order(), job_id="mine", who="x")
    command = [sys.executable, "-c", HOLDER, redis_server.url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "mine\n"
        assert jobs.take("w", wait_s=0.0) is None
        process.kill()
        process.wait()
    began = time.monotonic()
    taken = jobs.take("w", wait_s=5.0)
    assert taken is not None and (taken.id, taken.tries) == ("mine", 1)
    assert time.monotonic() - began < 2


def test_a_lease_lasts_while_its_worker_is_heard_of(redis: redis_module.Redis) -> None:
    mine, other = Jobs(redis, lease_s=0.5), Jobs(redis, sweep_s=0.0)
    mine.put(order(), job_id="one", who="x")
    job = mine.take("w", wait_s=0.0)
    assert job is not None
    stop = JobStop(Stop())
    with kept_alive(mine, "one", stop, poll_s=0.1):
        assert other.take("v", wait_s=1.2) is None
        other.halt("one", "cancel")
        time.sleep(0.3)
        assert stop.halt == "cancel" and stop.number is not None and not stop.leaving
    taken = other.take("v", wait_s=2.0)
    assert taken is not None and taken.worker == "v"
    with pytest.raises(LeaseLost, match="taken by another"):
        mine.leave("one", "ended")
    with pytest.raises(LeaseLost, match="taken by another"):
        mine.beat("one")
    assert other.get("one").state == "running"


def test_what_waits_for_a_person_goes_on_with_a_ruling_alone(jobs: Jobs) -> None:
    jobs.put(order(), job_id="run", who="x")
    assert jobs.take("w", wait_s=0.0) is not None
    jobs.leave("run", "waiting")
    assert jobs.put(order(), job_id="run", who="x").state == "waiting"
    with pytest.raises(Conflict, match="nothing to pause"):
        jobs.halt("run", "pause")
    ruled = jobs.put(RuleOrder(run="run", action="accept"), job_id="run", who="ann")
    assert (ruled.state, ruled.order.kind, ruled.who) == ("queued", "rule", "ann")


def test_two_evaluations_of_one_name_do_not_meet(jobs: Jobs) -> None:
    jobs.put(EvalOrder(suite="sandbox-quick"), job_id="mine", who="x")
    assert jobs.put(EvalOrder(suite="sandbox-quick"), job_id="mine", who="x").state == "queued"
    with pytest.raises(Conflict, match="choose another id"):
        jobs.put(EvalOrder(suite="sandbox"), job_id="mine", who="x")


def test_jobs_are_listed_latest_first_by_kind_state_and_time(jobs: Jobs) -> None:
    for at in range(5):
        jobs.put(order(), job_id=f"job-{at}", who="x")
    jobs.put(EvalOrder(suite="s"), job_id="eval", who="x")
    jobs.halt("job-3", "pause")
    assert [job.id for job in jobs.list(limit=2)] == ["eval", "job-4"]
    assert [job.id for job in jobs.list(kind="eval")] == ["eval"]
    assert [job.id for job in jobs.list(kind="name", state="queued", limit=3)] == ["job-4", "job-2", "job-1"]
    third = jobs.get("job-2").asked
    assert [job.id for job in jobs.list(before=third)] == ["job-1", "job-0"]
    with pytest.raises(NotFound, match="'nobody'"):
        jobs.get("nobody")


def test_a_job_of_another_version_is_said_so_and_stops_nobody(redis: redis_module.Redis, jobs: Jobs) -> None:
    jobs.put(order(), job_id="strange", who="x")
    jobs.put(order(), job_id="next", who="x")
    redis.hset(keys.job("strange"), "order", '{"kind": "sing"}')
    with pytest.raises(IntegrityError, match="another version"):
        jobs.get("strange")
    taken = jobs.take("w", wait_s=0.5)
    assert taken is not None and taken.id == "next"
    assert redis.hget(keys.job("strange"), "state") == b"failed"
    assert [job.id for job in jobs.list()] == ["next"]
