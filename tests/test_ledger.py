"""The first outcome of a piece of work is its outcome, and its name is everything that determines it."""

from __future__ import annotations

import threading

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.client import Pipeline

from tools import keys, ledger
from tools.ledger import Ledger

facts = st.dictionaries(
    st.text("abc", min_size=1),
    st.integers() | st.text('a:"é\U0001f41f') | st.booleans(),
    max_size=4,
)


@given(facts, facts)
def test_equal_facts_and_only_they_make_an_equal_key(
    one: dict[str, object], other: dict[str, object]
) -> None:
    same = list(map(repr, sorted(one.items()))) == list(map(repr, sorted(other.items())))
    assert (Ledger.key("kind", **one) == Ledger.key("kind", **other)) == same


def test_the_kind_is_part_of_the_key_and_order_is_not() -> None:
    assert Ledger.key("a", x=1) != Ledger.key("b", x=1)
    assert Ledger.key("a", x=1, y=2) == Ledger.key("a", y=2, x=1)


@pytest.mark.parametrize("value", [float("nan"), object(), "\ud800"])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        Ledger.key("kind", value=value)


def test_the_first_outcome_stays(redis: redis.Redis) -> None:
    book = Ledger(redis)
    assert book.put("llm", "k", b"first") == b"first"
    assert book.put("llm", "k", b"second") == b"first"
    assert book.get("llm", "k") == b"first"
    assert book.get("score", "k") is None


def test_an_empty_outcome_is_an_outcome(redis: redis.Redis) -> None:
    book = Ledger(redis)
    book.put("llm", "k", b"")
    assert book.put("llm", "k", b"late") == b""


def test_many_outcomes_of_which_some_were_known(redis: redis.Redis) -> None:
    book = Ledger(redis)
    book.put("kind", "b", b"early")
    assert book.put_many("kind", {"a": b"1", "b": b"2", "c": b"3"}) == {"a": b"1", "b": b"early", "c": b"3"}
    assert book.get_many("kind", ["c", "missing", "b"]) == [b"3", None, b"early"]
    assert book.get_many("kind", []) == [] and book.put_many("kind", {}) == {}


def test_more_keys_than_a_page_come_back_in_order(redis: redis.Redis) -> None:
    count = 2 * ledger._PAGE + 3
    outcomes = {str(n): str(n).encode() for n in range(count)}
    Ledger(redis).put_many("kind", outcomes)
    assert Ledger(redis).get_many("kind", list(outcomes)) == list(outcomes.values())


def test_what_goes_along_is_in_the_same_transaction(redis: redis.Redis) -> None:
    def beside(pipe: Pipeline) -> None:
        pipe.append("beside", "1")

    book = Ledger(redis)
    told = book.put_many("kind", {"a": b"1"}, also=beside)
    assert told == {"a": b"1"} and redis.get("beside") == b"1"
    book.forget("kind", ["a"], also=beside)
    assert redis.get("beside") == b"11" and redis.dbsize() == 1


def test_threads_that_race_agree_on_one_outcome(redis: redis.Redis) -> None:
    book, agreed = Ledger(redis), []
    racers = [
        threading.Thread(target=lambda n=n: agreed.append(book.put("kind", "k", str(n).encode())))
        for n in range(8)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert len(agreed) == 8 and set(agreed) == {redis.get(keys.ledger("kind", "k"))}
