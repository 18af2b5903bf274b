"""The agent without its parts, one at a time: what each switch takes away, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest

from agent.belief import EXCLUDED
from agent.bookkeeping import budget_of
from agent.budget import REPEATS, Limits
from agent.lexical import LexicalProposer
from agent.lexicon import lexicon_for
from agent.mind import Mind
from agent.nodes import after_propose, propose
from agent.observing import known_facts, observe
from agent.plans import Candidate, ConcludePlan, ContradictPlan, DrawPlan, ShowPlan
from agent.priors import LexicalSettings
from agent.proposer import Turn, View
from agent.race import RaceRules, Track, run_race
from agent.records import Explanation, Proposal
from agent.request import AT_ONCE, Ablation, RunSettings
from agent.reward import Scale
from agent.shots import Wanted
from agent.state import NamingState, Shot
from evals.conditions import CONDITIONS, WITHOUT, make_condition
from sae.feature import Feature
from tests.naming_world import Workshop, request_for, world
from tests.test_graph import Scripted, beginning, draws, named
from tools.protocols import FeatureFacts, Reading

ALL: tuple[Ablation, ...] = get_args(Ablation)
STRIPED_FISH = 4


def without(*parts: Ablation, **more: object) -> RunSettings:
    return RunSettings.model_validate({"without": parts, **more})


def told(*parts: Ablation, index: int = STRIPED_FISH) -> tuple[Explanation, Workshop]:
    shop = Workshop()
    return named(shop, index, without(*parts)), shop


def test_a_request_that_goes_without_nothing_has_the_key_it_always_had() -> None:
    from tools.digest import digest

    request = request_for(1)
    plain = request.model_dump(mode="json")
    del plain["fork"], plain["settings"]["review"], plain["settings"]["without"]
    assert request.key == digest(**plain)
    keys = {request_for(1, without(each)).key for each in ALL}
    assert len({request.key, *keys}) == 1 + len(ALL)


def test_settings_are_equal_however_the_parts_were_listed() -> None:
    assert without("race", "bank", "race") == without("bank", "race")
    with pytest.raises(ValueError, match="without"):
        RunSettings.model_validate({"without": ["luck"]})


def test_facts_are_hidden_by_part() -> None:
    facts = FeatureFacts(
        density=0.1,
        threshold=1.0,
        p99=2.0,
        vocabulary=(("red", 0.3),),
        tags=(("fish", 2.0),),
        readings=(Reading(kind="one", words=("fish",), f1=0.9, cut=0.3),),
    )
    assert known_facts(facts, ("bank", "race")) is facts
    tags: Ablation = "tags"
    vocabulary: Ablation = "vocabulary"
    blind = known_facts(facts, [tags])
    assert (blind.tags, blind.readings, blind.vocabulary) == ((), (), facts.vocabulary)
    assert known_facts(facts, [vocabulary]) == facts.model_copy(update={"vocabulary": ()})


def test_without_exemplars_none_is_shown_and_none_can_be_asked_for() -> None:
    shop = Workshop()
    state = beginning(STRIPED_FISH, without("exemplars"))
    seen = observe(state, shop.toolbox)
    assert seen["exemplars"] == ()
    assert observe(beginning(STRIPED_FISH), shop.toolbox)["exemplars"]
    asked: NamingState = {**state, **seen, "plan": ShowPlan(low=0.0, high=1.0)}
    again = observe(asked, shop.toolbox)
    assert [each.why for each in again["refused"]] == ["this run shows no exemplars"]


def test_without_the_bank_no_run_starts_from_what_others_drew() -> None:
    shop = Workshop()
    named(shop, 1)
    assert observe(beginning(7), shop.toolbox)["hints"]
    assert observe(beginning(7, without("bank")), shop.toolbox)["hints"] == ()


def test_without_contradictions_they_are_refused_and_the_others_drawn() -> None:
    tried = DrawPlan(
        proposals=(
            Proposal(prompt="a cat", intent="contradict"),
            Proposal(prompt="a fish", intent="exploit"),
        )
    )
    shop = Workshop(Scripted(tried, ContradictPlan(claim="fish", proposals=draws("a red cat").proposals)))
    state: NamingState = {**beginning(1, without("contradictions")), **observe(beginning(1), shop.toolbox)}
    first = propose(state, shop.toolbox)
    assert [each.prompt for each in first["granted"]] == ["a fish"]
    assert [each.prompt for each in first["refused"]] == ["a cat"]
    second = propose({**state, **first}, shop.toolbox)
    assert second["granted"] == () and after_propose(second) == "propose"


def test_without_contradictions_the_lexical_search_asks_nothing_that_excludes_its_best_claim() -> None:
    shop, asked = Workshop(), list[tuple[Mind, Proposal]]()
    lexicon = lexicon_for(world().draw.card)
    inner = LexicalProposer(lexicon)

    class Listening:
        name, fingerprint, paid, priced = inner.name, inner.fingerprint, False, True

        def plan(self, view: View) -> Turn:
            turn = inner.plan(view)
            mind = Mind(view, lexicon, LexicalSettings())
            if isinstance(turn.plan, DrawPlan | ContradictPlan):
                asked.extend((mind, each) for each in turn.plan.proposals)
            return turn

    shop = Workshop(Listening())
    named(shop, STRIPED_FISH, without("contradictions"))
    assert asked
    for mind, proposal in asked:
        top = mind.ranked[0][0]
        words = frozenset(lexicon.read(proposal.prompt))
        assert proposal.intent != "contradict"
        assert words in mind.own(top) or mind.says(top, words) != EXCLUDED
    assert any(
        trial.proposal.intent == "contradict"
        for trial in (named(Workshop(), STRIPED_FISH).evidence or pytest.fail()).trials
    )


def test_without_halving_every_prompt_gets_the_same_images_at_once() -> None:
    found, _ = told("halving")
    assert found.evidence is not None and found.name == "striped fish"
    counts = [len(trial.seeds) for trial in found.evidence.trials]
    assert set(counts) == {AT_ONCE * RunSettings().images_per_prompt}
    prompts = [trial.proposal.prompt for trial in found.evidence.trials]
    assert len(set(prompts)) == len(prompts)
    assert found.images.search <= 100


@pytest.mark.parametrize(("parts", "repeats"), [((), REPEATS), (("halving",), 1)])
def test_the_budget_knows_how_often_a_prompt_may_be_drawn(parts: tuple[Ablation, ...], repeats: int) -> None:
    assert budget_of(beginning(1, without(*parts))).repeats == repeats


def test_without_halving_no_name_leaves_the_race_before_its_end() -> None:
    things = ("cat", "fish", "car", "boat", "tree")
    names = [
        Candidate(
            name=f"{own}",
            prompts=(f"a {own}", f"a red {own}", f"a blue {own}"),
            rests=tuple(f"a {each}" for each in things if each != own),
        )
        for own in things
    ]

    def drawn(drops: bool) -> tuple[int, str, bool]:
        asked: list[Wanted] = []

        def arena(wanted: Sequence[Wanted]) -> list[Shot]:
            asked.extend(wanted)
            return [
                Shot(prompt=each.prompt, seed=each.seed, image="i", activation=float("fish" in each.prompt))
                for each in wanted
            ]

        rules = RaceRules(drops=drops, heats=3)
        outcome = run_race(names, Track(arena, 99, Scale(p99=1.0), 0, rules=rules))
        return len(asked), outcome.order[0].name, outcome.decided

    assert drawn(drops=False)[1:] == drawn(drops=True)[1:] == ("fish", True)
    prompts = 3 * len(names)
    assert drawn(drops=False)[0] == 3 * 2 * prompts > drawn(drops=True)[0]


def test_without_the_self_check_nothing_fresh_is_predicted_and_nothing_sends_the_run_back() -> None:
    found, shop = told("self-check")
    assert found.evidence is not None and found.evidence.check is None
    own = {prompt for rival in found.rivals for prompt in (f"a {rival.name}", rival.name)}
    raced = {row.prompt for row in shop.bank.rows.values() if row.image in found.evidence.race_images}
    assert raced <= {f"a picture of {prompt}" for prompt in own}
    assert len(shop.told("raced")) == 1


def test_without_a_race_the_first_name_is_judged_and_the_search_has_its_images() -> None:
    found, shop = told("race")
    assert found.name == "striped fish" and found.sealed is not None
    assert found.rivals == () and found.search_score is None
    assert not shop.told("raced")
    settings = without("race", limits=Limits(images=50, race_images=18))
    assert budget_of(beginning(1, settings)).left() == 50
    assert budget_of(beginning(1, RunSettings(limits=settings.limits))).left() == 32


@pytest.mark.parametrize("part", ALL)
def test_the_agent_without_any_part_still_names_within_its_budget(part: Ablation) -> None:
    found, _ = told(part, index=1)
    assert found.name == "fish" and found.verdict == "named"
    assert found.images.search <= 100 and found.images.sealed == 50


def test_every_part_has_a_condition() -> None:
    for part in ALL:
        condition = make_condition(f"{WITHOUT}{part}")
        assert condition.title == f"namesae without {part}"
        assert condition.model_dump()["without"] == (part,)
    assert [name for name in CONDITIONS if name.startswith(WITHOUT)] == [f"{WITHOUT}{each}" for each in ALL]


def test_no_plan_is_made_of_a_feature_that_is_dead_whatever_is_missing() -> None:
    found, shop = told(*ALL, index=8)
    assert found.verdict == "dead" and not shop.draw.counts
    assert found.feature == Feature(dictionary="fake", index=8)
    assert isinstance(Scripted().plan(View.model_construct()).plan, ConcludePlan)
