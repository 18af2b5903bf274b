"""Runs that start from a step of another: what changes, what stays, and that the other is only read."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import redis as redis_module

from agent.budget import Limits
from agent.checkpointer import RedisCheckpointer
from agent.events import Event, EventStream, Forked, Started
from agent.forks import Step, forked_state, proposal_of, steps_of
from agent.graph import NamingGraph, build_graph
from agent.records import Explanation, ForkPoint, Proposal
from agent.request import Fork, Request, RunSettings
from agent.runs import AwaitsReview, Desk, continue_run, name_feature
from agent.runs_store import RunStore
from tests.command_line import here, namesae, plant, records
from tests.naming_world import Workshop, request_for, world
from tools import keys
from tools.errors import UsageError

SMALL = RunSettings(limits=Limits(images=40, race_images=12, sealed=20))


@pytest.fixture
def desk(redis: redis_module.Redis) -> Desk:
    return Desk(RunStore(redis), RedisCheckpointer(redis))


def graph_of(desk: Desk) -> NamingGraph:
    return build_graph(desk.saver)


def origin(desk: Desk, shop: Workshop, settings: RunSettings = SMALL, *, index: int = 1) -> Explanation:
    return name_feature(request_for(index, settings), lambda run: shop.toolbox, desk=desk)


def request_at(parent: Request, run: str, step: int, **changes: Any) -> Request:
    add, drop = changes.pop("add", ()), changes.pop("drop", ())
    fork = Fork(origin=ForkPoint(run=run, step=step), add=add, drop=drop)
    return parent.model_copy(update={"fork": fork, **changes})


def forked(desk: Desk, shop: Workshop, request: Request) -> Explanation:
    forked_state(graph_of(desk), request, "check")
    run = desk.store.begin(request, now=1e9)
    return continue_run(request, run, open_toolbox=lambda run: shop.toolbox, desk=desk)


def held(client: redis_module.Redis, run: str) -> dict[bytes, object]:
    """What every key of a run holds, to the byte."""
    # Not what DUMP says: a hash that was only read may be told in another order.
    read: dict[bytes, Callable[[bytes], object]] = {
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
        b"string": client.get,
    }
    found = [key for key in client.scan_iter("*") if run.encode() in key]
    return {key: read[cast(bytes, client.type(key))](key) for key in found}


def steps(desk: Desk, run: str) -> dict[str, Step]:
    """A run's steps by what came next; of several the last."""
    return {each.next or "end": each for each in steps_of(graph_of(desk), run)}


def test_the_steps_of_a_run_are_told_with_what_happened(desk: Desk) -> None:
    told = origin(desk, Workshop())
    found = steps_of(graph_of(desk), told.run)
    assert [each.number for each in found] == list(range(len(found)))
    assert (found[0].node, found[0].next, found[0].what) == ("__start__", "observe", "begins")
    assert [each.node for each in found][-3:] == ["race", "judge", "record"]
    assert all(before.next == after.node for before, after in pairwise(found))
    assert found[-1].next is None and found[-1].what == told.verdict
    assert all(each.what for each in found)
    assert found[-3].what == f"won by {told.name}"
    assert steps_of(graph_of(desk), "nowhere") == ()


def test_a_fork_at_any_step_ends_and_leaves_the_other_run_as_it_was(
    desk: Desk, redis: redis_module.Redis
) -> None:
    shop = Workshop()
    told = origin(desk, shop)
    before, drawn = held(redis, told.run), dict(shop.draw.counts)
    seen: set[str] = set()
    for step in steps_of(graph_of(desk), told.run):
        if step.next in (None, "observe", *seen):
            continue
        seen.add(step.next or "")
        again = forked(desk, shop, request_at(request_for(1, SMALL), told.run, step.number))
        assert again.run != told.run
        assert again.forked_from == ForkPoint(run=told.run, step=step.number, node=step.node)
        # Nothing was changed, so nothing comes out differently, and all of it was recorded.
        assert (again.name, again.sealed, again.rivals) == (told.name, told.sealed, told.rivals)
        assert (again.images.search, again.images.drawn) == (told.images.search, 0)
    assert seen == {"propose", "draw", "score", "conclude", "race", "judge", "record"}
    assert dict(shop.draw.counts) == drawn
    # At its first step a fork looks again, and knows what was banked meanwhile.
    assert forked(desk, shop, request_at(request_for(1, SMALL), told.run, 0)).verdict == "named"
    assert max(shop.draw.counts.values()) == 1
    assert held(redis, told.run) == before
    assert told.forked_from is None


def test_a_finished_run_goes_on_with_another_budget(desk: Desk) -> None:
    shop = Workshop()
    told = origin(desk, shop, index=4)
    step = steps(desk, told.run)["propose"]
    more = RunSettings(limits=Limits(images=100, race_images=36, sealed=20))
    request = request_at(request_for(4, SMALL), told.run, step.number, settings=more)
    again = forked(desk, shop, request)
    assert again.images.search > told.images.search
    assert max(shop.draw.counts.values()) == 1
    assert desk.store.find(request) == again.model_copy(update={"stored": True})
    stored = desk.store.find(request_for(4, SMALL))
    assert stored is not None and stored.run == told.run
    used = steps(desk, told.run)["judge"].number
    few = SMALL.model_copy(update={"limits": Limits(images=9, race_images=3)})
    with pytest.raises(UsageError, match=r"has used \d+ search images already, so 9 leave none"):
        forked(desk, shop, request_at(request_for(4, SMALL), told.run, used, settings=few))


def test_another_seed_draws_other_pictures_from_there_on(desk: Desk) -> None:
    shop = Workshop()
    told = origin(desk, shop)
    at = steps(desk, told.run)["judge"].number
    other = SMALL.model_copy(update={"seed": 7})
    again = forked(desk, shop, request_at(request_for(1, SMALL), told.run, at, settings=other))
    assert again.evidence is not None and told.evidence is not None
    assert again.evidence.trials == told.evidence.trials
    assert not set(again.evidence.sealed_images) & set(told.evidence.sealed_images)
    assert again.images.drawn == 20


@pytest.mark.parametrize("next_node", ["draw", "score", "conclude", "race", "judge", "record"])
def test_prompts_are_added_at_any_step_and_the_search_goes_on(desk: Desk, next_node: str) -> None:
    shop = Workshop()
    roomy = RunSettings(limits=Limits(images=60, race_images=12, sealed=20))
    told = origin(desk, shop, SMALL)
    at = steps(desk, told.run)[next_node].number
    prompt = proposal_of("a green fish on sand", "contradict", card=world().draw.card)
    again = forked(desk, shop, request_at(request_for(1, SMALL), told.run, at, settings=roomy, add=(prompt,)))
    assert again.evidence is not None and told.evidence is not None
    drawn = [each for each in again.evidence.trials if each.proposal == prompt]
    assert len(drawn) == 1 and len(drawn[0].images) == 2
    assert again.verdict == "named" and again.sealed is not None
    assert again.images.search <= 60


def test_prompts_are_dropped_where_they_would_be_drawn(desk: Desk) -> None:
    shop = Workshop()
    told = origin(desk, shop)
    first = next(each for each in steps_of(graph_of(desk), told.run) if each.next == "draw")
    assert told.evidence is not None
    gone = told.evidence.trials[0].proposal.prompt
    again = forked(desk, shop, request_at(request_for(1, SMALL), told.run, first.number, drop=(gone,)))
    assert again.evidence is not None
    one_round = [each.proposal.prompt for each in again.evidence.trials][: len(first.what.split(", "))]
    assert gone not in one_round[:1] and again.verdict == "named"
    for at, why in ((first.number, "draws .* next, so 'a zebra' cannot"), (0, "comes before the feature")):
        with pytest.raises(UsageError, match=why):
            forked(desk, shop, request_at(request_for(1, SMALL), told.run, at, drop=("a zebra",)))


def test_prompts_that_cannot_be_drawn_are_refused(desk: Desk) -> None:
    card = world().draw.card
    wrongs = (("a zeppelin", "does not know"), ("x" * 201, "200"), ("a\x1bfish", "printed"), ("", "empty"))
    for wrong, why in wrongs:
        with pytest.raises(UsageError, match=why):
            proposal_of(wrong, "explore", card=card)
    shop = Workshop()
    told = origin(desk, shop)
    at = steps(desk, told.run)["record"].number
    many = tuple(Proposal(prompt=f"a fish on {word}", intent="vary") for word in ("sand", "sky", "water"))
    tight = SMALL.model_copy(update={"limits": Limits(images=told.images.search + 13, race_images=12)})
    with pytest.raises(UsageError, match="cannot be added: the budget has"):
        forked(desk, shop, request_at(request_for(1, SMALL), told.run, at, settings=tight, add=many))


def test_a_fork_that_cannot_start_says_why(desk: Desk) -> None:
    shop = Workshop()
    told = origin(desk, shop)
    last = steps(desk, told.run)["end"].number
    for run, step, why in (
        (told.run, last, f"is the end of run .* fork at {last - 1} or before"),
        (told.run, 99, f"has no step 99; it has 0 to {last - 1}"),
        ("gone", 1, "are not kept any more"),
    ):
        with pytest.raises(UsageError, match=why):
            forked(desk, shop, request_at(request_for(1, SMALL), run, step))
    assert desk.store.latest() == [told.run]


def test_a_fork_can_be_forked_and_asks_for_a_review_where_it_is_to(desk: Desk) -> None:
    shop = Workshop()
    told = origin(desk, shop)
    at = steps(desk, told.run)["judge"].number
    reviewed = SMALL.model_copy(update={"review": True})
    request = request_at(request_for(1, SMALL), told.run, at, settings=reviewed)
    with pytest.raises(AwaitsReview) as paused:
        forked(desk, shop, request)
    child = paused.value.question.run
    first = steps_of(graph_of(desk), child)[0]
    assert first.what == f"forked from {told.run} at step {at}" and first.node == "race"
    # At its own first step, and where it waits.
    for step in steps_of(graph_of(desk), child):
        grandchild = request_at(request_for(1, SMALL), child, step.number)
        done = forked(desk, shop, grandchild)
        assert done.forked_from is not None and done.forked_from.run == child
        assert (done.name, done.sealed) == (told.name, told.sealed)
    assert [each.run for each in desk.store.waiting()] == [child]


def test_a_fork_that_was_interrupted_at_once_starts_where_it_should(desk: Desk) -> None:
    shop = Workshop()
    told = origin(desk, shop)
    request = request_at(request_for(1, SMALL), told.run, steps(desk, told.run)["judge"].number)
    run = desk.store.begin(request, now=1e9)
    # The process died before the state was planted.
    again = continue_run(request, run, open_toolbox=lambda run: shop.toolbox, desk=desk)
    assert again.forked_from is not None and again.sealed == told.sealed


def test_the_events_of_a_fork_begin_with_those_before_it(redis: redis_module.Redis) -> None:
    stream = EventStream(redis)
    started = Started(feature="fake#1", proposer="lexical", resumed=False, images=9)
    stream(Event(run="old", at=1.0, node="start", what=started))
    until = redis.time()
    later = Event(run="old", at=2.0, node="x", what=started).model_dump_json()
    redis.xadd(keys.events("old"), {"event": later}, id=f"{until[0] * 1000 + 90_000}-0")
    told = Event(run="new", at=3.0, node="fork", what=Forked(origin=ForkPoint(run="old", step=1)))
    for _ in range(2):
        stream.begin_fork(told, until=until[0] + 1)
    assert [(each.event.run, each.event.what.kind) for each in stream.read("new")] == [
        ("new", "started"),
        ("new", "forked"),
    ]
    assert len(list(stream.read("old"))) == 2


@pytest.fixture
def planted(redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)


@pytest.mark.usefixtures("planted")
def test_forking_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("name", "fake#1", "--quiet", "--max-images", "40") == 0
    capsys.readouterr()
    assert here("trace", "fake#1") == 0
    lines = capsys.readouterr().out.splitlines()
    begin = next(at for at, each in enumerate(lines) if each.startswith("Steps, for namesae fork "))
    run = lines[begin].split()[4]
    listed = [each.split() for each in lines[begin + 1 :] if each[:4].strip().isdigit()]
    at = next(each[0] for each in listed if each[1] == "score")
    fork = ("fork", run, "--at", at, "--max-images", "60", "--add-prompt", "a fish on sand")
    assert here(*fork) == 0
    first = capsys.readouterr()
    assert "fish   named" in first.out and f"forked from {run} at step {at}: images 60" not in first.out
    assert here(*fork, "--quiet") == 0
    assert "stored 20" in capsys.readouterr().out
    assert here(*fork, "--again", "--quiet") == 0
    assert "stored" not in capsys.readouterr().out
    assert here("trace", "fake#1") == 0
    told = capsys.readouterr().out
    assert f"forked from {run} at step {at}: images 60, draws 'a fish on sand'" in told
    assert "begins" in told and "round 1: draw" in told
    assert here("fork", run, "--at", at, "--add-prompt", "a zeppelin") == 2
    assert "does not know 'zeppelin'" in capsys.readouterr().err
    assert here("fork", run, "--at", at, "--review", "--quiet") == 1
    assert "waits for a review" in capsys.readouterr().out
    assert here("fork", run, "--at", at, "--proposer", "openai") == 2
    assert "OPENAI_API_KEY is not set" in capsys.readouterr().err
    told_json = namesae("fork", run, "--at", at, "--seed", "5", "--json")
    assert told_json.returncode == 0, told_json.stderr
    (record,) = records(told_json.stdout)
    assert record["type"] == "feature" and record["forked_from"]["run"] == run
    from namesae import api, trace
    from namesae import fork as fork_again

    try:
        child = fork_again(run, at=int(at), seed=5)
        assert child.stored and child.run == record["run"]
        assert trace(child).steps[0].what.startswith(f"forked from {run}")
    finally:
        api.close()
