"""One entry point: stored answers, continued runs, new runs, drained runs; on a real Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis as redis_module

from agent import nodes, observing, racing
from agent.budget import Limits, Usage
from agent.checkpointer import RedisCheckpointer
from agent.plans import DrawPlan, ShowPlan
from agent.proposer import Turn, View
from agent.records import Proposal
from agent.request import RunSettings
from agent.runs import Desk, Drained, OutOfBudget, name_feature
from agent.runs_store import RunStore
from agent.state import NamingState
from agent.toolbox import Toolbox
from tests.conftest import RedisServer
from tests.naming_world import Workshop, request_for, world
from tools import keys
from tools.errors import IntegrityError, UsageError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def desk(redis: redis_module.Redis) -> Desk:
    return Desk(RunStore(redis), RedisCheckpointer(redis))


def never(run: str) -> Toolbox:
    raise AssertionError(f"{run} should not need tools")


def crashing(
    step: Callable[[NamingState, Toolbox], NamingState], crashes: list[str]
) -> Callable[[NamingState, Toolbox], NamingState]:
    def run(state: NamingState, toolbox: Toolbox) -> NamingState:
        if crashes:
            crashes.pop()
            raise RuntimeError("the machine stopped")
        return step(state, toolbox)

    return run


def test_an_answer_is_stored_and_given_again_without_tools(desk: Desk) -> None:
    shop = Workshop()
    told = name_feature(request_for(1), lambda run: shop.toolbox, desk=desk)
    again = name_feature(request_for(1), never, desk=desk)
    assert (told.name, told.stored) == ("fish", False)
    assert again == told.model_copy(update={"stored": True})
    assert desk.store.of_feature("fake#1") == [told]
    assert desk.store.latest() == [told.run]
    assert [event.what.kind for event in shop.events][:: len(shop.events) - 1] == ["started", "ended"]


def test_only_an_equal_request_gets_the_stored_answer(desk: Desk) -> None:
    name_feature(request_for(8), lambda run: Workshop().toolbox, desk=desk)
    for other in (
        request_for(8, RunSettings(seed=1)),
        request_for(8, RunSettings(limits=Limits(images=90))),
        request_for(8).model_copy(update={"models": "others"}),
        request_for(8).model_copy(update={"proposer": "openai:x"}),
    ):
        assert desk.store.find(other) is None
    assert desk.store.find(request_for(8)) is not None


def test_the_request_is_on_record_before_any_work(desk: Desk) -> None:
    def looking(run: str) -> Toolbox:
        row = desk.store.row(run)
        assert row is not None
        assert row.request == request_for(8)
        assert row.explanation is None
        return Workshop().toolbox

    name_feature(request_for(8), looking, desk=desk)


@pytest.mark.parametrize("step", ["observe", "score", "race", "judge_winner", "record"])
def test_an_interrupted_run_is_continued_and_repeats_no_draw(
    step: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Workshop()
    whole = name_feature(request_for(4), lambda run: Workshop().toolbox, desk=desk)
    request = request_for(4).model_copy(update={"models": step})
    module = {"observe": observing, "race": racing}.get(step, nodes)
    monkeypatch.setattr(module, step, crashing(getattr(module, step), [step]))
    with pytest.raises(RuntimeError, match="machine stopped"):
        name_feature(request, lambda run: shop.toolbox, desk=desk)
    assert desk.store.find(request) is None
    told = name_feature(request, lambda run: shop.toolbox, desk=desk)
    assert max(shop.draw.counts.values()) == 1
    assert (told.name, told.sealed, told.rivals) == (whole.name, whole.sealed, whole.rivals)
    starts = [event.what for event in shop.told("started")]
    assert [getattr(each, "resumed", None) for each in starts] == [False, True]


def test_a_run_that_ended_before_its_answer_was_filed_is_only_filed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Workshop()

    def unplugged(*arguments: object, **options: object) -> None:
        raise RuntimeError("the machine stopped")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="machine stopped"):
        patch.setattr(RunStore, "finish", unplugged)
        name_feature(request_for(4), lambda run: shop.toolbox, desk=desk)
    planned = len(shop.told("planned"))
    assert name_feature(request_for(4), lambda run: shop.toolbox, desk=desk).name == "striped fish"
    assert len(shop.told("planned")) == planned


def test_again_makes_a_new_run_and_keeps_the_old_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Workshop()
    first = name_feature(request_for(8), lambda run: shop.toolbox, desk=desk)
    second = name_feature(request_for(8), lambda run: shop.toolbox, desk=desk, again=True)
    assert first.run != second.run
    row = desk.store.row(first.run)
    assert row is not None
    assert row.explanation == first
    stored = name_feature(request_for(8), never, desk=desk)
    assert stored.run == second.run
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(nodes, "record", crashing(nodes.record, ["record"]))
        name_feature(request_for(8), lambda run: shop.toolbox, desk=desk, again=True)
    third = name_feature(request_for(8), lambda run: shop.toolbox, desk=desk, again=True)
    assert third.run.endswith("-2")
    assert [each.run for each in desk.store.of_feature("fake#8")][:2] == [third.run, second.run]


def test_a_failed_run_is_no_answer(desk: Desk) -> None:
    class Silent:
        name, fingerprint, paid, priced = "silent", "silent", False, True

        def plan(self, view: View) -> Turn:
            from agent.plans import ConcludePlan

            return Turn(plan=ConcludePlan())

    told = name_feature(request_for(1), lambda run: Workshop(Silent()).toolbox, desk=desk)
    assert (told.verdict, told.code) == ("failed", "no_plan")
    assert desk.store.find(request_for(1)) is None
    assert desk.store.of_feature("fake#1")[0] == told


class Costly:
    """A proposer that looks first and draws then, for six cents a turn."""

    name, fingerprint, paid, priced = "costly", "costly", True, True

    def __init__(self) -> None:
        self.asked = 0

    def plan(self, view: View) -> Turn:
        self.asked += 1
        draws = DrawPlan(proposals=(Proposal(prompt="a fish", intent="explore"),))
        return Turn(plan=draws if view.round else ShowPlan(low=0.5, high=1.0), usage=Usage(calls=1, usd=0.06))


@pytest.mark.parametrize(("usd", "turns"), [(0.0, 0), (0.05, 1)])
def test_a_limit_before_the_first_image_is_a_budget_error_and_a_larger_one_names(
    desk: Desk, usd: float, turns: int
) -> None:
    proposer = Costly()
    small, large = (request_for(1, RunSettings(limits=Limits(usd=each))) for each in (usd, 0.5))
    with pytest.raises(
        OutOfBudget, match=rf"fake#1 reached its limit of \${usd:g} .*--cost-limit"
    ) as stopped:
        name_feature(small, lambda run: Workshop(proposer).toolbox, desk=desk)
    told = stopped.value.explanation
    assert (stopped.value.exit_code, told.verdict, told.code) == (4, "failed", "limit_usd")
    assert (told.cost.llm_calls, proposer.asked) == (turns, turns)
    assert desk.store.of_feature("fake#1") == [told]
    with pytest.raises(OutOfBudget):
        name_feature(small, never, desk=desk)
    assert name_feature(large, lambda run: Workshop(Costly()).toolbox, desk=desk).name == "a fish"


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(images=1, race_images=0), "1 search images"),
        (Limits(seconds=0.5), "0.5 seconds"),
        (Limits(llm_calls=0), "0 LLM calls"),
        (Limits(tokens=0), "0 tokens"),
    ],
)
def test_every_limit_that_comes_too_soon_is_told(desk: Desk, limits: Limits, told: str) -> None:
    request = request_for(1, RunSettings(limits=limits))
    remedy = "raise it and repeat" if limits.images == 1 else "repeat the command with --again"
    with pytest.raises(OutOfBudget, match=rf"reached its limit of {told}.*{remedy}"):
        name_feature(request, lambda run: Workshop(Costly()).toolbox, desk=desk)


def test_a_feature_that_needs_no_image_needs_no_budget(desk: Desk) -> None:
    request = request_for(8, RunSettings(limits=Limits(usd=0.0)))
    assert name_feature(request, lambda run: Workshop(Costly()).toolbox, desk=desk).verdict == "dead"


def test_two_threads_that_ask_the_same_do_the_work_once(desk: Desk) -> None:
    shop = Workshop()
    world()
    told = []

    def ask() -> None:
        told.append(name_feature(request_for(8), lambda run: shop.toolbox, desk=desk))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.run for each in told}) == 1
    assert len(shop.told("started")) == 1


def test_an_unknown_price_with_a_limit_in_dollars_is_refused_before_anything_is_spent(desk: Desk) -> None:
    class Unpriced:
        name, fingerprint, paid, priced = "openai:strange", "x", True, False

        def plan(self, view: View) -> Turn:
            raise AssertionError("asked")

    with pytest.raises(UsageError, match=r"price of openai:strange is unknown.*--yes"):
        name_feature(request_for(1), lambda run: Workshop(Unpriced()).toolbox, desk=desk)


def test_what_another_version_recorded_is_refused_in_one_sentence(
    desk: Desk, redis: redis_module.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(nodes, "record", crashing(nodes.record, ["record"]))
        name_feature(request_for(8), lambda run: Workshop().toolbox, desk=desk)
    with monkeypatch.context() as patch, pytest.raises(IntegrityError, match="another version"):
        patch.setattr("agent.runs.SCHEMA", 2)
        name_feature(request_for(8), lambda run: Workshop().toolbox, desk=desk)
    redis.set(keys.explanation(request_for(9).key), b'{"verdict": "wonderful"}')
    with pytest.raises(IntegrityError, match="cannot be read by this version"):
        name_feature(request_for(9), never, desk=desk)


def test_sigterm_finishes_the_step_and_the_next_call_continues(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, score = Workshop(), nodes.score

    def terminated(state: NamingState, toolbox: Toolbox) -> NamingState:
        os.kill(os.getpid(), signal.SIGTERM)
        return score(state, toolbox)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch, pytest.raises(Drained, match="repeat the command") as stopped:
        patch.setattr(nodes, "score", terminated)
        name_feature(request_for(4), lambda run: shop.toolbox, desk=desk)
    assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert len(shop.told("scored")) == 1
    assert name_feature(request_for(4), lambda run: shop.toolbox, desk=desk).name == "striped fish"
    assert max(shop.draw.counts.values()) == 1


PROBE = """
import sys
from pathlib import Path
from agent.records import Explanation
from agent.request import Request
from agent.runs import Desk, name_feature
from agent.runs_store import RunStore
from tools.redis_client import connect
request = Request.model_validate_json(sys.argv[2])
store = RunStore(connect(sys.argv[1], Path()))
print(name_feature(request, None, desk=Desk(store, None)).name)
print([name for name in ("torch", "langgraph", "openai", "diffusers", "open_clip") if name in sys.modules])
"""


def test_a_stored_answer_imports_no_heavy_library(desk: Desk, redis_server: RedisServer) -> None:
    name_feature(request_for(1), lambda run: Workshop().toolbox, desk=desk)
    command = [sys.executable, "-c", PROBE, redis_server.url, request_for(1).model_dump_json()]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["fish", "[]"]
