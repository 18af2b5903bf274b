"""Hypotheses in what an LLM answers and is told: checked, measured, and never taken at its word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import prompting
from agent.budget import REPEATS, Budget, Limits, Spent
from agent.hypotheses import HypothesisState, believed
from agent.plan_reply import BadReplyError, reply_schema, understood
from agent.plans import proposals_of
from agent.proposer import Hint
from agent.records import Expectation, Proposal, Trial
from agent.reward import Scale
from tests.fake_openai_server import Body, name, plan
from tests.views import view

SCALE = Scale(p99=10.0)
STRIPES, BLUE = "anything striped", "it is the blue, not the stripes"


def idea(claim: str, state: str = "open", *, control: bool = False) -> Body:
    return {"claim": claim, "state": state, "control": control}


def drawing(*prompts: tuple[str, str, str], **more: Any) -> str:
    """A reply that draws (prompt, claim, expects) for two hypotheses."""
    told = plan("draw", prompts=[prompt for prompt, _, _ in prompts], **more)
    for each, (_, claim, expects) in zip(told["prompts"], prompts, strict=True):
        each |= {"claim": claim, "expects": expects}
    return json.dumps({"hypotheses": [idea(STRIPES), idea(BLUE, control=True)], **told})


def trial(prompt: str, *found: float, claim: str = "", expects: Expectation = "either") -> Trial:
    proposal = Proposal(prompt=prompt, intent="explore", claim=claim, expects=expects)
    return Trial(
        proposal=proposal,
        images=tuple("c" * 64 for _ in found),
        seeds=tuple(range(len(found))),
        activations=found,
    )


def told(**changes: Any) -> str:
    return prompting.messages(view(**changes), sees=False)[1].text


def test_each_prompt_says_what_it_tests_and_expects() -> None:
    said = understood(drawing(("a striped cat", STRIPES.upper(), "fires"), ("a blue cat", "", "either")))
    first, second = proposals_of(said.plan)
    assert (first.claim, first.expects) == (STRIPES, "fires")
    assert (second.claim, second.expects) == ("", "either")
    assert said.beliefs == {STRIPES: "open", BLUE: "open"}


def test_a_contradiction_expects_silence_of_its_claim() -> None:
    (only,) = proposals_of(
        understood(json.dumps(plan("contradict", prompts=["a plain cat"], claim=STRIPES))).plan
    )
    assert (only.claim, only.expects) == (STRIPES, "rests")


def test_replies_from_before_there_were_hypotheses_are_plans() -> None:
    said = understood(json.dumps(plan("draw", prompts=["a fish"])))
    assert said.beliefs == {} and proposals_of(said.plan)[0].claim == ""


@pytest.mark.parametrize(
    ("hypotheses", "why"),
    [
        ([idea(STRIPES, control=True)], "holds 1 instead of 2 to 6"),
        ([idea(STRIPES), idea(STRIPES, control=True)], "holds 1 instead of 2 to 6"),
        ([idea(f"h{at}", control=True) for at in range(7)], "hypotheses"),
        ([idea(STRIPES), idea(BLUE)], "is a control"),
        ([idea(STRIPES, "proven"), idea(BLUE, control=True)], "hypotheses.0.state"),
        ([idea(""), idea(BLUE, control=True)], "hypotheses.0.claim"),
        ([{"claim": STRIPES, "state": "open"}, idea(BLUE, control=True)], "hypotheses.0.control"),
        ([STRIPES, BLUE], "hypotheses.0"),
    ],
)
def test_hypotheses_that_test_nothing_are_sent_back(hypotheses: list[Any], why: str) -> None:
    with pytest.raises(BadReplyError, match=why):
        understood(json.dumps({**plan("draw", prompts=["a"]), "hypotheses": hypotheses}))


def test_the_schema_wants_every_new_key() -> None:
    schema = reply_schema()
    assert "hypotheses" in schema["required"]
    assert {"claim", "expects"} <= set(schema["properties"]["prompts"]["items"]["required"])
    assert set(schema["properties"]["hypotheses"]["items"]["required"]) == {"claim", "state", "control"}


def test_where_a_hypothesis_stands_is_measured_and_its_author_only_quoted() -> None:
    fires = trial("a striped cat", 9.0, 9.0, 8.0, 9.0, claim=STRIPES, expects="fires")
    rests = trial("a plain cat", 0.0, 0.1, claim=STRIPES, expects="rests")
    silent = trial("a blue cat", 0.0, 0.0, 0.0, 0.0, claim=BLUE, expects="fires")
    beliefs: dict[str, HypothesisState] = {BLUE: "supported", STRIPES: "supported", "untested": "refuted"}
    first, second, last = believed(beliefs, [fires, rests, silent], scale=SCALE)
    assert (first.claim, first.state, first.held) == (STRIPES, "supported", None)
    assert (second.claim, second.state, second.held) == ("untested", "open", "refuted")
    assert (last.claim, last.state, last.held) == (BLUE, "refuted", "supported")
    assert last.fires.images == 4
    assert last.fires.rate == pytest.approx(0.0, abs=0.05)


@given(st.lists(st.sampled_from(["open", "supported", "refuted"]), min_size=1, max_size=4))
def test_no_opinion_moves_what_is_measured(states: list[HypothesisState]) -> None:
    trials = [trial("a striped cat", 9.0, 9.0, claim="h0", expects="fires")]
    beliefs = {f"h{at}": state for at, state in enumerate(states)}
    said = {each.claim: each.state for each in believed(beliefs, trials, scale=SCALE)}
    assert set(said.values()) == {"open"} and list(said) == list(beliefs)


def test_messages_tell_hypotheses_with_their_pictures_and_rates() -> None:
    text = told(trials=(trial("a fish", 9.0, 9.0, 8.0, 9.0, claim=STRIPES, expects="rests"),))
    assert '- refuted: "anything striped" (should fire: not drawn; should rest: 4.0 of 4 fired)' in text
    assert '4 of 4 fired: "a fish" (explore; "anything striped" says it rests)' in text


def test_messages_tell_what_failed_beside_what_fired() -> None:
    trials = (trial("a cat", 0.0, 0.0), trial("a fish", 9.0, 0.0), trial("a red fish", 19.0, 12.0))
    fired, _, rested = told(trials=trials).partition("Drawn, and did not fire")
    assert fired.index("score 2.55, mean 1.55, 2 of 2 fired") < fired.index("score 0.95, mean 0.45, 1 of 2")
    assert '0 of 2 fired: "a cat"' in rested and "a cat" not in fired


def test_the_score_does_not_saturate() -> None:
    text = told(trials=(trial("a fish", 10.0), trial("a red fish", 25.0)))
    assert 'score 2.00, mean 1.00, 1 of 1 fired: "a fish"' in text
    assert 'score 3.50, mean 2.50, 1 of 1 fired: "a red fish"' in text


def test_many_trials_do_not_crowd_out_the_failures() -> None:
    fired = tuple(trial(f"a red fish {at}", 9.0) for at in range(100))
    failed = tuple(trial(f"a blue cat {at}", 0.0) for at in range(100))
    text = told(trials=(*fired, *failed))
    assert text.count("a red fish ") >= 40 and text.count("a blue cat ") >= 30
    assert '"a blue cat 99"' in text and len(text) < 20_000


def test_messages_tell_minimal_pairs_with_their_paired_difference() -> None:
    text = told(trials=(trial("a red fish", 9.0, 8.0), trial("a blue fish", 1.0, 0.0)))
    assert '- +0.80 over 2 pictures: "a red fish" against "a blue fish"' in text


def test_messages_tell_what_the_bank_knows_of_both_kinds() -> None:
    loud = tuple(Hint(prompt=f"fish {at}", activation=9.0, images=2, fired=(9.0, 9.0)) for at in range(50))
    quiet = tuple(Hint(prompt=f"cat c{at}", activation=0.0, images=2) for at in range(50))
    near = Hint(prompt="fish and boat", activation=0.0, images=4)
    text = told(hints=(*loud, *quiet, near))
    assert text.count('"fish ') == 17 and text.count('"cat ') == 7
    assert 'score 0.00, mean 0.00, 0 of 4 fired: "fish and boat"' in text


@pytest.mark.parametrize(
    ("prompt", "granted"),
    [
        ("a red fish on water", True),
        ("red fish on water", False),
        ("The red fish on the water!", False),
        ("water and red fish", False),
        ("a blue fish on water", True),
    ],
)
def test_a_prompt_that_says_what_a_tried_one_said_is_refused(prompt: str, granted: bool) -> None:
    budget = Budget(Limits(), Spent())
    grant = budget.grant([Proposal(prompt=prompt, intent="vary")], {"a red fish on water": 1})
    assert bool(grant.proposals) is granted
    assert granted or "says the same as 'a red fish on water'" in grant.refused[0].why


def test_a_deliberate_repeat_is_drawn_until_it_was_often_enough() -> None:
    again = [Proposal(prompt="a fish", intent="vary")]
    budget = Budget(Limits(), Spent())
    assert all(budget.grant(again, {"a fish": count, "fish": 1}).proposals for count in range(1, REPEATS))
    assert not budget.grant(again, {"a fish": REPEATS}).proposals


def test_two_prompts_of_one_plan_that_say_the_same_are_one() -> None:
    both = [Proposal(prompt=each, intent="vary") for each in ("a fish", "the fish", "of the", "a")]
    grant = Budget(Limits(), Spent()).grant(both, {})
    assert [each.prompt for each in grant.proposals] == ["a fish", "of the", "a"]


def test_a_conclusion_needs_no_hypotheses() -> None:
    assert understood(json.dumps({**plan("conclude", names=[name("x")]), "hypotheses": [idea("x")]}))
