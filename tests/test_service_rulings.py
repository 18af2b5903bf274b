"""Reviews, forks and endings of namings asked of the service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.records import Proposal
from agent.request import Request
from namesae.forking import ForkOrder
from namesae.service.errors import Conflict, NotFound
from namesae.service.jobs import Jobs
from namesae.service.orders import NameOrder, RuleOrder
from namesae.service.service import Service
from namesae.settings import load_settings
from sae.feature import Feature
from tests.served_runs import Served, paint_once, planted
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


def test_a_name_under_review_waits_and_goes_on_with_the_ruling(served: Served) -> None:
    runs = served.service.runs
    run = runs.start(order(review=True), who="ann").run
    with pytest.raises(Conflict, match="is queued, and no name of it waits"):
        runs.rule(RuleOrder(run=run, action="accept"), who="bob")
    served.work()
    assert runs.status(run).state == "waiting" == runs.start(order(review=True), who="ann").state
    for change in (runs.pause, lambda run: runs.resume(run, who="ann")):
        with pytest.raises(Conflict, match=r"review|nothing to pause"):
            change(run)
    ruled = RuleOrder(run=run, action="accept", why="clear")
    assert runs.rule(ruled, who="bob").state == "queued" == runs.rule(ruled, who="bob").state
    with pytest.raises(Conflict, match="bob chose to accept"):
        runs.rule(RuleOrder(run=run, action="reject"), who="eve")
    served.work()
    review = served.explained(run).review
    assert review is not None and (review.who, review.decision, review.why) == ("bob", "accepted", "clear")
    assert runs.status(run).state == "ended"
    with pytest.raises(Conflict, match="has ended"):
        runs.rule(ruled, who="bob")


def test_a_retest_comes_back_with_the_next_question_and_can_be_cancelled(served: Served) -> None:
    runs = served.service.runs
    run = runs.start(order(review=True), who="ann").run
    served.work()
    with pytest.raises(UsageError):
        runs.rule(RuleOrder(run=run, action="retest", name="qwertyuiop"), who="bob")
    runs.rule(RuleOrder(run=run, action="retest", name="fish"), who="bob")
    served.work()
    question = runs.trace(run).question
    assert question is not None and (question.name, question.turn) == ("fish", 1)
    assert runs.cancel(run).state == "cancelled" and served.state.runs.waiting() == []
    assert Jobs(served.state.client).get(run).state == "cancelled"


def test_a_ruling_that_comes_before_the_wait_is_seen_is_not_forgotten(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = served.service.runs
    run, ask = runs.start(order(review=True), who="ann").run, served.state.runs.ask

    def ruled_at_once(self: Any, question: Any, *, now: float) -> Any:
        told = ask(question, now=now)
        runs.rule(RuleOrder(run=run, action="accept"), who="bob")
        return told

    monkeypatch.setattr(type(served.state.runs), "ask", ruled_at_once)
    served.work()
    assert runs.status(run).state == "ended"


def test_a_fork_is_a_run_of_its_own_and_found_again(served: Served) -> None:
    runs = served.service.runs
    origin = runs.start(order(), who="ann").run
    served.work()
    whole = served.explained(origin)
    step = next(each for each in runs.trace(origin).steps if each.next == "conclude")
    prompts = (Proposal(prompt="red fish", intent="explore"),)
    asked = ForkOrder(run=origin, step=step.number, add=prompts)
    forked = runs.fork(asked, who="ann", key="k")
    assert (forked.state, forked.forked_from) == ("queued", origin)
    assert runs.fork(asked, who="ann", key="k").run == forked.run
    assert runs.events(forked.run)[-1].event.what.kind == "forked"
    served.work()
    told = runs.status(forked.run)
    assert told.state == "ended" and served.explained(origin) == whole
    assert runs.fork(asked, who="ann").stored
    assert served.drawn_twice() == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"run": "fake-0-none-0"}, NotFound),
        ({"step": 999}, UsageError),
        ({"proposer": "sing"}, UsageError),
        ({"images": -1}, UsageError),
        ({"usd": -1.0}, UsageError),
        ({"seed": -1}, UsageError),
        ({"drop": ("a fish",)}, UsageError),
        ({"add": (Proposal(prompt="qwertyuiop", intent="explore"),)}, UsageError),
    ],
)
def test_a_fork_that_cannot_be_is_refused_in_a_sentence(
    served: Served, change: dict[str, Any], error: type[Exception]
) -> None:
    runs = served.service.runs
    origin = runs.start(order(DEAD), who="ann").run
    served.work()
    told: dict[str, Any] = {"run": origin, "step": 0, **change}
    with pytest.raises(error) as raised:
        runs.fork(ForkOrder(**told), who="ann")
    assert "\n" not in str(raised.value) and len(runs.list()) == 1


def test_a_dictionary_that_changed_fails_the_job_in_a_sentence(served: Served) -> None:
    runs = served.service.runs
    request = Request(feature=Feature(dictionary="fake", index=1), models="others", proposer="lexical")
    run = served.state.runs.begin(request, now=time.time())
    runs.resume(run, who="ann")
    served.work()
    told = runs.status(run)
    assert told.state == "failed" and "other models" in (told.error or "")
    assert runs.cancel(run).state == "cancelled"


def test_a_limit_before_the_first_image_ends_the_job_and_says_so(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    settings = load_settings()
    runs = Service(settings, served.state).runs
    asked = NameOrder(feature="fake#1", proposer="openai", cost_limit=0.0)
    run = runs.start(asked, who="ann").run
    served._replace(settings=settings).work()
    told = runs.status(run)
    assert (told.state, told.verdict, told.usd) == ("ended", "failed", 0.0)
    assert "limit of $0 for the LLM" in (told.error or "")
    assert Jobs(served.state.client).get(run).exit_code == 4
    # A failure is no answer, and the same request is the same run.
    assert runs.start(asked, who="ann") == told
    assert runs.start(asked.model_copy(update={"again": True}), who="ann").state == "queued"


def test_a_worker_with_other_settings_does_not_go_on_with_a_run(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    service = Service(load_settings(), served.state)
    run = service.runs.start(NameOrder(feature="fake#1", proposer="openai"), who="ann").run
    served.work()
    assert "OPENAI_API_KEY is not set" in (service.runs.status(run).error or "")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    service.runs.resume(run, who="ann")
    served._replace(settings=load_settings()).work()
    assert "than this worker asks" in (service.runs.status(run).error or "")
    assert service.runs.events(run) == []


def test_a_run_of_before_the_briefs_is_read_once_and_kept(served: Served) -> None:
    runs = served.service.runs
    run = runs.start(order(DEAD), who="ann").run
    served.work()
    whole = runs.status(run)
    served.state.client.hdel(keys.run(run), "brief")
    assert runs.status(run) == whole and served.state.client.hexists(keys.run(run), "brief")
    served.state.client.hset(keys.run(run), "request", "{}")
    assert runs.list() == ()


def test_markdown_shows_texts_as_they_are(served: Served) -> None:
    from namesae.service.trace_markdown import escaped, trace_markdown
    from tests.recorded_runs import recorded_trace

    hostile = "<script>alert(1)</script> [x](javascript:1) `a` | b\n# c"
    page = trace_markdown(recorded_trace(served.state.images, text=hostile))
    assert "<script" not in page.replace("\\<script", "").replace(f"  {hostile.splitlines()[0]}", "")
    assert "](java" not in page.replace("\\](java", "").replace(hostile.splitlines()[0], "")
    assert escaped("1. a") == "1\\. a" and escaped("- a") == "\\- a" and escaped("a - b. c") == "a - b. c"
