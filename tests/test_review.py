"""A person between judge and record: accepting, rejecting, other names on new sealed images."""

from __future__ import annotations

from typing import Any

import pytest
import redis as redis_module

from agent import review
from agent.checkpointer import RedisCheckpointer
from agent.records import Explanation, Question, Ruling, RulingAction
from agent.request import Request, RunSettings
from agent.review import Apart, ruling_of, typed_candidate
from agent.runs import AwaitsReview, Desk, continue_run, name_feature
from agent.runs_store import RunStore
from agent.seeds import RANGES, sealed_seeds
from agent.state import NamingState
from agent.toolbox import Toolbox
from namesae.reviewing import Decided, Reply, ask_until_decided
from tests.naming_world import Workshop, request_for, world
from tools.digest import digest
from tools.errors import UsageError
from tools.sealed import SealedInMemory

REVIEWED = RunSettings(review=True)


@pytest.fixture
def desk(redis: redis_module.Redis) -> Desk:
    return Desk(RunStore(redis), RedisCheckpointer(redis))


def never(run: str) -> Toolbox:
    raise AssertionError(f"{run} should not need tools")


def asked(shop: Workshop, desk: Desk, *, index: int = 1, request: Request | None = None) -> Question:
    """Name a feature up to the question."""
    with pytest.raises(AwaitsReview) as paused:
        name_feature(request or request_for(index, REVIEWED), lambda run: shop.toolbox, desk=desk)
    return paused.value.question


def rule(desk: Desk, question: Question, action: RulingAction, name: str | None = None) -> Ruling:
    """Write down a ruling."""
    ruling = ruling_of(action, who="ada", why=f"to {action}", now=1e9)
    row = desk.store.row(question.run)
    assert row is not None
    if name is not None:
        number = desk.store.next_retest(row.request)
        ruling = ruling.model_copy(update={"name": name, "retest": number})
    return desk.store.rule(question, ruling)


def go_on(shop: Workshop, desk: Desk, question: Question) -> Explanation:
    """Carry a run on as another process would."""
    fresh = Desk(RunStore(desk.store.client), RedisCheckpointer(desk.store.client))
    row = fresh.store.row(question.run)
    assert row is not None
    return continue_run(row.request, row.run, open_toolbox=lambda run: shop.toolbox, desk=fresh)


def retested(shop: Workshop, desk: Desk, question: Question, name: str) -> Question:
    """Have another name tested, and the question about it."""
    rule(desk, question, "retest", name)
    with pytest.raises(AwaitsReview) as paused:
        go_on(shop, desk, question)
    return paused.value.question


def test_a_request_without_review_has_the_key_it_had() -> None:
    request = request_for(1)
    told = request.model_dump(mode="json")
    del told["settings"]["review"], told["settings"]["without"], told["fork"]
    assert request.key == digest(**told)
    assert request_for(1, REVIEWED).key != request.key
    assert Request.model_validate(told) == request


def test_a_run_under_review_stops_before_its_name_is_accepted(desk: Desk) -> None:
    shop = Workshop()
    question = asked(shop, desk)
    told = question.explanation
    assert (question.name, question.verdict, question.turn) == ("fish", "named", 0)
    assert question.retests_left == review.MAX_RETESTS
    assert told.sealed is not None and told.rivals and told.images.sealed == 50
    assert desk.store.find(request_for(1, REVIEWED)) is None
    assert desk.store.of_feature("fake#1") == []
    assert desk.store.waiting() == [question]
    # A repeated command needs no tool to say the same.
    with pytest.raises(AwaitsReview) as again:
        name_feature(request_for(1, REVIEWED), never, desk=desk)
    assert again.value.question == question
    assert len(shop.told("started")) == 1


def test_an_accepted_name_is_what_it_would_have_been_and_keeps_who_accepted_it(desk: Desk) -> None:
    plain = name_feature(request_for(1), lambda run: Workshop().toolbox, desk=desk)
    shop = Workshop()
    question = asked(shop, desk)
    rule(desk, question, "accept")
    told = go_on(shop, desk, question)
    assert (told.name, told.verdict, told.sealed, told.images.charged) == (
        plain.name,
        plain.verdict,
        plain.sealed,
        plain.images.charged,
    )
    assert plain.review is None
    assert told.review is not None
    assert (told.review.decision, told.review.who, told.review.why) == ("accepted", "ada", "to accept")
    assert (told.review.name, told.review.verdict, told.review.retests) == ("fish", "named", 0)
    assert max(shop.draw.counts.values()) == 1
    assert desk.store.waiting() == []
    assert name_feature(request_for(1, REVIEWED), never, desk=desk).review == told.review
    assert [event.what.ruling.action for event in shop.told("reviewed") if event.what.kind == "reviewed"] == [
        "accept"
    ]


def test_a_rejected_name_is_not_shown_and_is_kept(desk: Desk) -> None:
    shop = Workshop()
    question = asked(shop, desk)
    rule(desk, question, "reject")
    told = go_on(shop, desk, question)
    assert (told.name, told.verdict, told.code, told.confidence) == (None, "unexplained", "rejected", 0.0)
    assert told.review is not None and told.sealed is not None
    assert (told.review.decision, told.review.name, told.review.verdict) == ("rejected", "fish", "named")
    assert told.review.names[0].sealed == told.sealed


def sealed_images(question: Question) -> set[object]:
    evidence = question.explanation.evidence
    assert evidence is not None
    return set(evidence.sealed_images)


def test_another_name_is_judged_on_sealed_images_nobody_has_seen(desk: Desk) -> None:
    shop = Workshop()
    first = asked(shop, desk)
    second = retested(shop, desk, first, "striped fish")
    third = retested(shop, desk, second, "fish in forest")
    assert [each.name for each in (first, second, third)] == ["fish", "striped fish", "fish in forest"]
    assert [each.retests_left for each in (first, second, third)] == [3, 2, 1]
    sets = [sealed_images(each) for each in (first, second, third)]
    assert all(len(each) == 50 for each in sets)
    assert len(set.union(*sets)) == 150
    seeds = [set(sealed_seeds(0, count=50, retest=number)) for number in range(3)]
    assert len(set.union(*seeds)) == 150
    drawn = {request.seed for request in shop.draw.counts if request.seed >= RANGES["judge"].low}
    assert drawn == set.union(*seeds)
    assert not {row.image for row in shop.bank.rows.values()} & set.union(*sets)
    rule(desk, third, "accept")
    told = go_on(shop, desk, third)
    assert told.review is not None
    assert (told.review.retests, told.review.name) == (2, "fish in forest")
    assert [each.retest for each in told.review.names] == [0, 1, 2]
    assert [each.ruling.name for each in told.review.names] == ["striped fish", "fish in forest", None]
    assert told.images.sealed == 150
    assert told.search_score is not None and told.rivals[0].name == "fish in forest"
    assert [rival.name for rival in told.rivals].count("fish") == 1


def test_retests_of_other_runs_with_the_same_seed_have_other_images(desk: Desk) -> None:
    shop = Workshop()
    first = asked(shop, desk)
    once = retested(shop, desk, first, "striped fish")
    rule(desk, once, "accept")
    go_on(shop, desk, once)
    with pytest.raises(AwaitsReview) as paused:
        name_feature(request_for(1, REVIEWED), lambda run: shop.toolbox, desk=desk, again=True)
    twice = retested(shop, desk, paused.value.question, "striped fish")
    assert not sealed_images(once) & sealed_images(twice)
    assert twice.explanation.sealed != once.explanation.sealed


def test_names_tested_in_a_run_are_no_floor_for_each_other() -> None:
    held = SealedInMemory()
    for name in ("fish", "ball", "boat", "forest"):
        held.add(name, (f"{name}-1",))
    apart = Apart(held, ("fish", "ball"))
    assert set(apart.others("red", top=8)) == {"boat", "forest"}
    assert len(apart.others("red", top=1)) == 1
    assert apart.others("red", top=0) == {}
    apart.add("red", ("red-1",))
    assert "red" in held.others("green", top=8)


def test_the_names_of_a_person_are_held_to_what_is_asked_of_an_llm() -> None:
    card = world().draw.card
    made = typed_candidate("  striped\n fish ", card)
    assert (made.name, made.kind, made.prompts) == ("striped fish", "one", ("striped fish",))
    either = typed_candidate("ball or forest", card)
    assert (either.kind, either.parts, either.prompts) == ("or", ("ball", "forest"), ("ball", "forest"))
    for wrong, why in (
        ("zeppelin fish", "does not know 'zeppelin'"),
        ("fish " * 20, "at most 80 characters"),
        ("fish\x1b[2J", "cannot be printed"),
        ("fish \ud800", "cannot be printed"),
        ("  ", "cannot be tested"),
        ("!!", "no word"),
    ):
        with pytest.raises(UsageError, match=why):
            typed_candidate(wrong, card)
    for who, why in (("", "--as NAME"), ("x" * 81, "80 is the most"), ("a\x00", "cannot be printed")):
        with pytest.raises(UsageError, match=why):
            ruling_of("accept", who=who, now=0.0)


def test_a_ruling_survives_a_crash_of_the_retest_and_repeats_no_draw(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent.judge import judge as judged

    shop = Workshop()

    def crash(*arguments: Any) -> Any:
        judged(*arguments)
        raise RuntimeError("the machine stopped")

    question = asked(shop, desk)
    rule(desk, question, "retest", "striped fish")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="machine stopped"):
        patch.setattr(review, "judge", crash)
        go_on(shop, desk, question)
    assert desk.store.waiting() == []
    with pytest.raises(AwaitsReview) as paused:
        go_on(shop, desk, question)
    assert (paused.value.question.name, paused.value.question.turn) == ("striped fish", 1)
    assert max(shop.draw.counts.values()) == 1


def test_a_pause_that_was_not_written_down_is_written_by_the_next_call(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Workshop()

    def unplugged(*arguments: object, **options: object) -> None:
        raise RuntimeError("the machine stopped")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="machine stopped"):
        patch.setattr(RunStore, "ask", unplugged)
        name_feature(request_for(1, REVIEWED), lambda run: shop.toolbox, desk=desk)
    drawn = sum(shop.draw.counts.values())
    assert asked(shop, desk).name == "fish"
    assert sum(shop.draw.counts.values()) == drawn


def test_the_first_of_two_rulings_counts(desk: Desk) -> None:
    question = asked(Workshop(), desk)
    first = rule(desk, question, "reject")
    late = ruling_of("accept", who="bob", now=2e9)
    assert desk.store.rule(question, late) == first
    row = desk.store.row(question.run)
    assert row is not None and row.ruling == first and not row.waits


def test_a_person_is_asked_again_after_a_mistake_and_not_after_being_overruled(desk: Desk) -> None:
    question = asked(Workshop(), desk)
    said: list[str] = []
    replies = [Reply(action="retest", name="?"), None]

    def refuse(asked: Question, reply: Reply) -> Explanation:
        raise UsageError("give another")

    outcome = ask_until_decided(question, lambda _: replies.pop(0), decide=refuse, say=said.append)
    assert (outcome.explanation, outcome.question, said) == (None, question, ["give another"])

    def overruled(asked: Question, reply: Reply) -> Explanation:
        raise Decided(asked.run, asked, None)

    with pytest.raises(Decided):
        ask_until_decided(question, lambda _: Reply(action="accept"), decide=overruled, say=said.append)
    assert ask_until_decided(question, None, decide=refuse, say=said.append).explanation is None


def test_a_state_without_a_winner_cannot_be_reviewed() -> None:
    from agent.state import RaceRecord

    state: NamingState = {"raced": RaceRecord()}
    with pytest.raises(ValueError, match="no name to review"):
        review.question_of(state, Workshop().toolbox)
