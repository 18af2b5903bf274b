"""The review desk: names that wait, names that disagree, and blind votes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from namesae.service.disagreements import same_name
from namesae.service.errors import NotFound
from namesae.service.review_records import Pair
from namesae.service.reviews import Reviews, in_order, pair_id
from namesae.service.votes import VoteStore
from tests.conftest import RedisServer
from tests.work_world import World, asked_run, filled, told_run, world
from tools.errors import UsageError


@pytest.fixture
def place(redis_server: RedisServer, redis: object, tmp_path: Path) -> Iterator[World]:
    with world(redis_server.url, tmp_path / "home") as made:
        yield made


@pytest.fixture
def desk(place: World) -> Reviews:
    told_run(place.service, text="striped", seed=0)
    told_run(place.service, text="fish", seed=1, proposer="openai:gpt-5-mini")
    told_run(place.service, text="a fish", seed=2)
    told_run(place.service, text="red", index=1, seed=3)
    told_run(place.service, text="blue", index=1, seed=4)
    told_run(place.service, text="green", index=2, seed=5)
    return place.service.reviews


def test_the_most_contested_features_come_first(desk: Reviews) -> None:
    found = desk.disagreements("fake")
    assert [each.feature for each in found] == ["fake#1", "fake#0"]
    assert [each.contested for each in found] == [0.5, pytest.approx(4 / 9)]
    assert [(name.name, name.times) for name in found[1].names] == [("a fish", 2), ("striped", 1)]
    assert desk.disagreements("fake", 1) == found[:1]
    with pytest.raises(NotFound):
        desk.disagreements("nothing")


def test_a_new_answer_is_seen(place: World, desk: Reviews) -> None:
    assert len(desk.disagreements("fake")) == 2
    told_run(place.service, text="yellow", index=2, seed=6)
    assert {each.feature for each in desk.disagreements("fake")} == {"fake#0", "fake#1", "fake#2"}


def test_names_of_evaluations_count_and_controls_do_not(place: World, desk: Reviews) -> None:
    cells = filled(place.service.evaluations.folder("one"), dictionary="fake")
    told = desk.names("fake#0")
    mine = [cell for cell in cells if cell.feature.index == 0 and cell.answer.name]
    assert {each.by for each in told} > {"lexical"}
    assert any(each.source == "eval" and each.evaluation == "one" for each in told)
    controls = {"true", "constant", "random", "shuffled", "untrained"}
    assert not {each.condition for each in told} & controls and {cell.condition for cell in mine} & controls


def test_words_in_another_order_are_the_same_name() -> None:
    assert same_name("A striped fish") == same_name("fish, striped") != same_name("striped fishes")
    assert same_name("!!") != same_name("??")


def test_a_pair_hides_what_found_the_names(desk: Reviews) -> None:
    pair = desk.pair("fake", who="ada")
    assert pair is not None and pair.feature == "fake#1" and {pair.a, pair.b} == {"red", "blue"}
    assert "lexical" not in pair.model_dump_json() and set(Pair.model_fields) == {
        *("id", "feature", "a", "b", "exemplars", "threshold", "left")
    }
    assert len(pair.exemplars) == 1 and pair.left == 2
    assert desk.pair("fake", who="ada") == pair


def test_the_order_is_by_chance_and_follows_from_the_id() -> None:
    names = ("red", "blue")
    ids = [pair_id("fake#1", names, who=f"p{at}") for at in range(400)]
    lefts = [in_order(each, names)[0] for each in ids]
    assert 150 < lefts.count("red") < 250
    assert lefts == [in_order(each, ("blue", "red"))[0] for each in ids]
    assert pair_id("fake#1", ("blue", "red"), who="p0") == ids[0]


def test_votes_are_kept_with_who_and_when_and_the_latest_counts(desk: Reviews) -> None:
    pair = desk.pair("fake", who="ada")
    assert pair is not None
    first = desk.vote(pair.feature, who="ada", choice="a", left=pair.a, right=pair.b, note="=1+1\n x\x00")
    assert (first.chosen, first.pair, first.a_by, first.note) == (pair.a, pair.id, "lexical", "=1+1 x")
    desk.vote(pair.feature, who="bo", choice="tie", left=pair.b, right=pair.a)
    desk.vote(pair.feature, who="ada", choice="b", left=pair.a, right=pair.b)
    told = desk.votes(pair.feature)
    assert [(vote.who, vote.choice) for vote in told] == [("bo", "tie"), ("ada", "b")]
    following = desk.pair("fake", who="ada")
    assert following is not None and following.feature == "fake#0" and following.left == 1
    assert desk.pair("fake", who="cy") is not None
    desk.vote("fake#0", who="ada", choice="skip", left=following.a, right=following.b)
    assert desk.pair("fake", who="ada") is None
    assert [each.votes for each in desk.disagreements("fake")] == [2, 0]


def test_only_names_of_the_feature_can_be_voted_on(desk: Reviews) -> None:
    with pytest.raises(NotFound, match="never called 'zebra'"):
        desk.vote("fake#1", who="ada", choice="a", left="red", right="zebra")
    with pytest.raises(UsageError, match="compares two"):
        desk.vote("fake#1", who="ada", choice="a", left="red", right="red")
    with pytest.raises(UsageError, match="no feature"):
        desk.vote("fake", who="ada", choice="a", left="red", right="blue")
    assert desk.all_votes() == ()


def test_votes_are_exported_and_counted_by_method(place: World, desk: Reviews) -> None:
    told_run(place.service, text="=HYPERLINK(1)", index=4, seed=7, proposer="openai:x")
    told_run(place.service, text="plain", index=4, seed=8)
    desk.vote("fake#4", who="ada", choice="a", left="plain", right="=HYPERLINK(1)", note="@x")
    desk.vote("fake#1", who="bo", choice="b", left="red", right="blue")
    rows = list(csv.DictReader(io.StringIO(desk.export("fake"))))
    assert {row["feature"]: row["chosen"] for row in rows} == {"fake#4": "plain", "fake#1": "blue"}
    mine = next(row for row in rows if row["who"] == "ada")
    assert (mine["b"], mine["note"], mine["b_by"]) == ("'=HYPERLINK(1)", "'@x", "openai:x")
    assert len(list(csv.DictReader(io.StringIO(desk.export())))) == 2
    tallies = {each.by: (each.won, each.lost, each.tied) for each in desk.tallies("fake")}
    assert tallies == {"lexical": (1, 0, 0), "openai:x": (0, 1, 0)}


def test_a_vote_of_another_version_counts_for_nothing(place: World, desk: Reviews) -> None:
    from tools import keys

    desk.vote("fake#1", who="bo", choice="b", left="red", right="blue")
    place.service.state.client.rpush(keys.votes("fake#1"), '{"feature": "fake#1"}', "not json")
    assert [vote.who for vote in VoteStore(place.service.state.client).of_feature("fake#1")] == ["bo"]


def test_what_waits_is_told_until_it_is_ruled_on(place: World, desk: Reviews) -> None:
    run = asked_run(place.service)
    assert [each.run for each in desk.waiting()] == [run]
    asking = desk.asking(run)
    assert asking.question.name == "striped" and asking.ruling is None and not asking.ended
    other = told_run(place.service, text="x", index=6, seed=9)
    for missing in ("nothing", other.run):
        with pytest.raises(NotFound, match="asks nobody"):
            desk.asking(missing)
