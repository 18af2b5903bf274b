"""Events are typed, survive a Redis Stream, and are read again by everyone the same."""

from __future__ import annotations

import pytest
import redis as redis_module
from pydantic import ValidationError

from agent.events import Ended, Event, EventStream, Happening, Observed, Raced, Started, ignore, tee
from tools import keys
from tools.protocols import FeatureFacts


def event(number: int, what: Happening | None = None, run: str = "r") -> Event:
    told = what or Started(feature="d#1", proposer="lexical", resumed=False, images=100)
    return Event(run=run, at=float(number), node="start", round=number, what=told)


def test_events_come_back_typed_and_in_order_beyond_one_page(redis: redis_module.Redis) -> None:
    stream = EventStream(redis)
    told = [event(number) for number in range(1203)]
    for each in told:
        stream(each)
    stream(event(0, run="other"))
    read = list(stream.read("r"))
    assert [entry.event for entry in read] == told
    assert list(stream.read("r", after=read[1200].id)) == read[1201:]
    assert list(stream.read("nobody")) == []


@pytest.mark.parametrize(
    "what",
    [
        Observed(facts=FeatureFacts(density=0.1, threshold=1.0, p99=2.0), exemplars=3, hints=0),
        Raced(rivals=(), winner=None, decided=False, search=9),
        Ended(name=None, verdict="dead", confidence=0.0),
    ],
)
def test_every_kind_is_told_by_its_name(what: Happening, redis: redis_module.Redis) -> None:
    stream = EventStream(redis)
    stream(event(1, what))
    assert next(iter(stream.read("r"))).event.what == what


def test_a_follower_gets_what_is_new_and_waits_no_longer_than_asked(redis: redis_module.Redis) -> None:
    stream = EventStream(redis)
    assert stream.follow("r", wait_s=0.01) == []
    stream(event(1))
    first = stream.follow("r")
    assert [entry.event.round for entry in first] == [1]
    stream(event(2))
    assert [entry.event.round for entry in stream.follow("r", after=first[-1].id)] == [2]
    assert stream.follow("r", after=stream.follow("r")[-1].id, wait_s=0.01) == []


def test_a_run_has_its_own_stream_under_the_projects_keys(redis: redis_module.Redis) -> None:
    EventStream(redis)(event(1, run="a:b"))
    assert redis.keys("*") == [keys.events("a:b").encode()]


def test_a_tee_tells_all_and_ignore_none() -> None:
    first: list[Event] = []
    second: list[Event] = []
    tee(first.append, ignore, second.append)(event(1))
    assert first == second == [event(1)]


def test_an_event_of_unknown_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        Event.model_validate({"run": "r", "at": 1.0, "node": "x", "what": {"kind": "rumour"}})
