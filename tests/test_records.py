"""The records survive every store and refuse what they do not know; seeds and runs are named the same."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from agent.budget import Limits
from agent.records import Cost, Evidence, Explanation, Proposal, Rival, Trial
from agent.request import Request, RunSettings
from agent.reward import CENTRES, Scale, reward, rewards
from agent.seeds import RANGES, Purpose, seed_of, seeds_of
from sae.feature import Exemplar, Feature
from tools.protocols import CosyScore, FeatureFacts, Interval, Reading

SCORE = CosyScore(
    auroc=0.9,
    auroc_ci=Interval(low=0.8, high=0.95),
    ceiling=None,
    mad=None,
    max_mad=math.inf,
    activation_rate=0.8,
    activation_rate_ci=Interval(low=0.7, high=0.9),
    control_rate=0.1,
    control_rate_ci=Interval(low=0.05, high=0.2),
    n_generated=50,
    n_control=1000,
)


def explanation() -> Explanation:
    trial = Trial(
        proposal=Proposal(prompt="a fish", intent="exploit"),
        images=("a" * 64, None),
        seeds=(1, 2),
        activations=(1.5, None),
    )
    facts = FeatureFacts(density=0.1, threshold=1.0, p99=2.0, tags=(("fish", 2.0),))
    return Explanation(
        feature=Feature(dictionary="fake", index=3),
        name="fish",
        verdict="named",
        confidence=0.7,
        sealed=SCORE,
        rivals=(Rival(name="fish", auroc=0.9, auroc_ci=None, rate=None, n_images=4),),
        evidence=Evidence(
            facts=facts, exemplars=(Exemplar(image="b" * 64, activation=2.0),), trials=(trial,)
        ),
        cost=Cost(usd=None, prompt_tokens=None),
    )


def test_an_explanation_survives_json_exactly() -> None:
    told = explanation()
    assert Explanation.model_validate_json(told.model_dump_json()) == told


def test_unknown_fields_and_impossible_confidence_are_refused() -> None:
    with pytest.raises(ValidationError):
        Proposal.model_validate({"prompt": "x", "intent": "exploit", "score": 1.0})
    with pytest.raises(ValidationError):
        explanation().model_validate({**explanation().model_dump(), "confidence": 1.5})


@pytest.mark.parametrize("text", ["sandbox", "#3", "sandbox#", "sandbox#-1", "sandbox#1.5"])
def test_a_feature_is_a_dictionary_and_an_index(text: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        Feature.parse(text)


def test_seeds_are_the_same_each_time_and_purposes_share_none() -> None:
    purposes: tuple[Purpose, ...] = ("search", "race", "judge")
    drawn = {
        each: {seed_of(run, each, index=at) for run in range(20) for at in range(50)} for each in purposes
    }
    for each in purposes:
        low, high = RANGES[each]
        assert all(low <= seed < high for seed in drawn[each])
    assert not drawn["search"] & drawn["race"]
    assert max(drawn["search"] | drawn["race"]) < 2**31 < 2**32 <= min(drawn["judge"])
    assert seeds_of(3, "race", start=2, count=3) == tuple(seed_of(3, "race", index=at) for at in (2, 3, 4))


def test_a_request_is_filed_under_everything_that_determines_its_answer() -> None:
    base = Request(feature=Feature(dictionary="d/e", index=1), models="m", proposer="lexical")
    others = [
        base.model_copy(update={"feature": Feature(dictionary="d/e", index=2)}),
        base.model_copy(update={"models": "n"}),
        base.model_copy(update={"proposer": "openai:x"}),
        base.model_copy(update={"proposer_fingerprint": "p"}),
        base.model_copy(update={"settings": RunSettings(seed=1)}),
        base.model_copy(update={"settings": RunSettings(limits=Limits(images=99))}),
    ]
    assert len({each.key for each in (base, *others)}) == 7
    assert base.key == Request.model_validate_json(base.model_dump_json()).key
    assert base.run_id() == base.run_id() != base.run_id(1)
    assert "/" not in base.run_id()


def test_a_reward_is_graded_and_saturates() -> None:
    scale = Scale(p99=2.0)
    steps = [reward(share * 2.0, scale) for share in (0.0, 0.2, 0.35, 0.5, 1.0, 50.0)]
    assert steps == sorted(steps)
    assert steps[0] < 0.02
    assert steps[2] == pytest.approx(0.5)
    assert steps[4] == pytest.approx(1.0, abs=1e-3)
    assert rewards((None, 2.0, None), scale) == [reward(2.0, scale)]
    assert reward(1.0, Scale(p99=0.0)) == 0.0


def test_where_words_tell_a_feature_at_a_low_cut_it_counts_as_firing_at_a_low_one() -> None:
    facts = FeatureFacts(density=0.1, threshold=1.0, p99=2.0)
    told = Reading(kind="one", words=("fish",), f1=0.8, cut=0.4)
    assert Scale.of(facts) == Scale(p99=2.0)
    assert Scale.of(facts.model_copy(update={"readings": (told,)})).centre == pytest.approx(0.2)
    unsure = told.model_copy(update={"f1": 0.3})
    assert Scale.of(facts.model_copy(update={"readings": (unsure,)})) == Scale(p99=2.0)
    never = told.model_copy(update={"cut": 9.0})
    assert Scale.of(facts.model_copy(update={"readings": (never,)})).centre == CENTRES[1]
