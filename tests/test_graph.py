"""The graph over the fake world: right verdicts, kept budgets, and nothing repeated after a crash."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from agent import nodes, observing, racing
from agent.budget import Limits, Spent, Usage
from agent.events import Judged, Planned, Scored
from agent.graph import build_graph
from agent.plans import Candidate, ConcludePlan, ContradictPlan, DrawPlan, PairPlan, Plan, ShowPlan
from agent.proposer import Turn, View
from agent.records import Explanation, Proposal
from agent.request import RunSettings
from agent.seeds import RANGES
from agent.state import SCHEMA, NamingState
from agent.toolbox import Toolbox
from sae.feature import Feature
from tests.naming_world import NOISE, RED_BOAT, Workshop, world
from tools.protocols import DrawnImage, DrawRequest

STEPS = ("observe", "propose", "draw", "score", "conclude", "race", "judge", "record")
MODULES = {"observe": observing, "race": racing}
"""Where a step lies that does not lie in nodes."""


def beginning(index: int, settings: RunSettings | None = None) -> NamingState:
    return {
        "schema": SCHEMA,
        "run": f"run-{index}",
        "feature": Feature(dictionary="fake", index=index),
        "settings": settings or RunSettings(),
        "spent": Spent(),
        "drawn": 0,
    }


def named(shop: Workshop, index: int, settings: RunSettings | None = None) -> Explanation:
    graph = build_graph(InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 60}
    state = graph.invoke(beginning(index, settings), config, context=shop.toolbox, durability="sync")
    return cast(NamingState, state)["explanation"]


class Ran(dict[int, tuple[Explanation, Workshop]]):
    """Namings of this file, each done once."""

    def __missing__(self, index: int) -> tuple[Explanation, Workshop]:
        shop = Workshop()
        self[index] = named(shop, index), shop
        return self[index]


@cache
def ran() -> Ran:
    return Ran()


@pytest.mark.parametrize(
    ("index", "verdict", "parts"),
    [
        (0, "named", set()),
        (1, "named", set()),
        (2, "named", set()),
        (3, "named", set()),
        (4, "named", {"striped", "fish"}),
        (5, "polysemantic", {"ball", "forest"}),
        (6, "named", set()),
        (7, "named", set()),
        (12, "named", set()),
        (RED_BOAT, "named", {"red", "boat"}),
    ],
)
def test_planted_features_get_their_names(index: int, verdict: str, parts: set[str]) -> None:
    told, _ = ran()[index]
    assert told.verdict == verdict
    assert told.name is not None
    assert set(told.name.split()) == set(world().features[index].truth.split())
    assert set(told.parts) == parts
    assert told.confidence > 0
    assert told.sealed is not None
    assert told.sealed.auroc_ci.low <= told.sealed.auroc <= told.sealed.auroc_ci.high


@pytest.mark.parametrize(
    ("index", "verdict"), [(8, "dead"), (9, "dense"), (10, "unrenderable"), (NOISE, "unexplained")]
)
def test_features_that_have_no_name_get_none(index: int, verdict: str) -> None:
    told, _ = ran()[index]
    assert (told.verdict, told.name, told.confidence) == (verdict, None, 0.0)


def test_a_name_that_fires_too_rarely_is_weak() -> None:
    told, _ = ran()[11]
    assert told.verdict == "weak"
    assert "tree" in (told.name or "")


@pytest.mark.parametrize("index", [0, 2, 4, 5, 6, 7, 11, NOISE, RED_BOAT])
def test_at_most_100_search_and_exactly_50_sealed_images(index: int) -> None:
    told, shop = ran()[index]
    prompts = {False: [], True: []}  # type: dict[bool, list[DrawRequest]]
    for request in shop.draw.counts:
        prompts[request.seed >= RANGES["judge"].low].append(request)
    assert len(prompts[False]) == told.images.search <= 100
    assert len(prompts[True]) == told.images.sealed == 50
    assert told.images.charged == told.images.search + 50
    assert told.images.drawn == sum(shop.draw.counts.values())
    assert not {each.prompt for each in prompts[True]} & {each.prompt for each in prompts[False]}


def test_dead_and_dense_features_draw_nothing() -> None:
    for index in (8, 9):
        told, shop = ran()[index]
        assert not shop.draw.counts
        assert told.images.charged == 0


def test_the_record_can_be_checked_by_hand() -> None:
    told, _ = ran()[4]
    evidence = told.evidence
    assert evidence is not None and told.sealed is not None and told.search_score is not None
    assert len(evidence.sealed_images) == len(evidence.sealed_activations) == 50
    assert evidence.optimism_gap == pytest.approx(told.search_score - told.sealed.auroc)
    assert evidence.floor_auroc == pytest.approx(0.5, abs=0.15)
    assert told.rivals[0].name == told.name
    refuted = {each.claim for each in evidence.hypotheses if each.state == "refuted"}
    assert {"striped", "fish"} <= refuted
    assert evidence.check is not None and evidence.check > 0.9
    assert evidence.belief is not None and evidence.belief > 0.9
    assert evidence.contrast is None and evidence.part_scores == ()
    threshold = evidence.facts.threshold
    rate = sum(each > threshold for each in evidence.sealed_activations) / 50
    assert rate == pytest.approx(told.sealed.activation_rate)
    assert told.cost.seconds > 0
    assert told.created.startswith("2001-")
    assert told.proposer == "lexical"


def test_searches_are_banked_and_sealed_images_are_not() -> None:
    told, shop = ran()[1]
    assert told.evidence is not None
    assert len(shop.bank.rows) == told.images.search
    assert not set(told.evidence.sealed_images) & set(shop.bank.rows)
    assert all(row.prompt.startswith("a picture of ") for row in shop.bank.rows.values())


def test_events_tell_the_run_in_order() -> None:
    told, shop = ran()[4]
    kinds = [event.what.kind for event in shop.events]
    assert kinds[0] == "observed"
    assert kinds[-2:] == ["raced", "judged"]
    assert [event.at for event in shop.events] == sorted(event.at for event in shop.events)
    scored = [event.what for event in shop.told("scored")]
    trials = [trial for what in scored if isinstance(what, Scored) for trial in what.trials]
    assert told.evidence is not None
    assert tuple(trials) == told.evidence.trials
    judged = shop.told("judged")[0].what
    assert isinstance(judged, Judged)
    assert judged.sealed == told.sealed
    last = shop.told("planned")[-1].what
    assert isinstance(last, Planned)
    assert last.plan == "conclude"
    assert told.name in last.names


def test_the_same_seed_gives_the_same_explanation_and_another_seed_other_images() -> None:
    told, shop = ran()[4]
    again, other = Workshop(), Workshop()
    assert named(again, 4) == told
    different = named(other, 4, RunSettings(seed=1))
    assert different.name == told.name
    seeds = [{request.seed for request in each.draw.counts} for each in (shop, other)]
    assert not seeds[0] & seeds[1]


def test_a_bank_makes_the_next_feature_start_from_what_it_knows() -> None:
    shop = Workshop()
    named(shop, 1)
    hints: list[View] = []
    inner = shop.toolbox.proposer

    class Listening:
        name, fingerprint, paid, priced = inner.name, inner.fingerprint, False, True

        def plan(self, view: View) -> Turn:
            hints.append(view)
            return inner.plan(view)

    shop.toolbox = dataclasses.replace(shop.toolbox, proposer=Listening())
    named(shop, 7)
    assert any("fish" in hint.prompt for hint in hints[0].hints)
    assert not any(hint.prompt.startswith("a picture of") for hint in hints[0].hints)


@pytest.mark.parametrize("broken", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_in_any_step_repeats_no_recorded_draw(
    broken: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, _ = ran()[4]
    module, function = MODULES.get(broken, nodes), "judge_winner" if broken == "judge" else broken
    step: Callable[[NamingState, Toolbox], NamingState] = getattr(module, function)
    crashes = [broken]

    def crashing(state: NamingState, toolbox: Toolbox) -> NamingState:
        done = step(state, toolbox) if after else None
        if crashes:
            crashes.pop()
            raise RuntimeError("the machine stopped")
        return done or step(state, toolbox)

    monkeypatch.setattr(module, function, crashing)
    shop, graph = Workshop(), build_graph(InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 60}
    with pytest.raises(RuntimeError, match="machine stopped"):
        graph.invoke(beginning(4), config, context=shop.toolbox, durability="sync")
    state = graph.invoke(None, config, context=shop.toolbox, durability="sync")
    resumed = cast(NamingState, state)["explanation"]
    assert max(shop.draw.counts.values()) == 1
    same = ("name", "verdict", "confidence", "sealed", "rivals", "parts", "search_score")
    assert {key: getattr(resumed, key) for key in same} == {key: getattr(told, key) for key in same}
    assert resumed.images.charged == told.images.charged


class Scripted:
    """A proposer that says what a test wrote down, and remembers the views."""

    name, fingerprint, priced = "scripted", "scripted", True

    def __init__(self, *plans: Plan, paid: bool = False, usage: Usage | None = None) -> None:
        self.plans, self.paid, self.usage = list(plans), paid, usage or Usage()
        self.views: list[View] = []

    def plan(self, view: View) -> Turn:
        self.views.append(view)
        plan = self.plans.pop(0) if self.plans else ConcludePlan()
        return Turn(plan=plan, usage=self.usage)


def draws(*prompts: str) -> DrawPlan:
    return DrawPlan(proposals=tuple(Proposal(prompt=prompt, intent="explore") for prompt in prompts))


CONCLUDE = ConcludePlan(
    candidates=(Candidate(name="fish", prompts=("a fish",)), Candidate(name="glorb", prompts=("a glorb",)))
)


def test_an_unknown_word_comes_back_as_a_failed_trial_that_costs_nothing() -> None:
    proposer = Scripted(draws("a glorb", "a fish"), CONCLUDE)
    shop = Workshop(proposer)
    told = named(shop, 1)
    failed, fine = proposer.views[1].trials
    assert failed.images == ()
    assert "glorb" in (failed.fault or "")
    assert len(fine.images) == 2
    assert any(each.prompt == "a glorb" for each in proposer.views[1].refused)
    assert proposer.views[0].images_left - proposer.views[1].images_left == 2
    assert told.name == "fish"
    assert [rival.name for rival in told.rivals] == ["fish"]


def test_every_kind_of_plan_is_carried_out() -> None:
    pair = PairPlan(
        first=Proposal(prompt="a fish", intent="exploit"),
        second=Proposal(prompt="a cat", intent="contradict"),
    )
    against = ContradictPlan(claim="fish", proposals=(Proposal(prompt="a horse", intent="contradict"),))
    show = ShowPlan(low=0.0, high=0.5, count=3)
    proposer = Scripted(show, ShowPlan(low=0.9, high=0.2), pair, against, CONCLUDE)
    told = named(Workshop(proposer), 1)
    before, seen, refused, tested, contradicted = proposer.views
    assert len(seen.exemplars) > len(before.exemplars)
    assert "0.9" in refused.refused[-1].why
    assert len({trial.seeds for trial in tested.trials}) == 1
    assert contradicted.trials[-1].seeds != tested.trials[0].seeds
    assert told.verdict == "named"


def test_plans_beyond_the_budget_are_trimmed_and_the_search_ends() -> None:
    greedy = [draws(*(f"a {word}" for word in world().draw.card.vocabulary or ())) for _ in range(20)]
    proposer = Scripted(*greedy)
    settings = RunSettings(limits=Limits(images=30, race_images=10))
    told = named(Workshop(proposer), 1, settings)
    assert told.images.search <= 30
    assert proposer.views[-1].must_conclude
    assert proposer.views[1].refused
    assert told.evidence is not None
    assert sum(len(trial.images) for trial in told.evidence.trials) == 20


def test_when_the_proposer_names_nothing_the_best_measured_prompts_race() -> None:
    told = named(Workshop(Scripted(draws("a fish", "red", "a striped fish"))), 1)
    assert {rival.name for rival in told.rivals} == {"a fish", "a striped fish"}
    assert told.verdict == "named"


def test_a_proposer_that_never_draws_ends_by_its_rounds_and_fails() -> None:
    proposer = Scripted(*[draws() for _ in range(30)])
    told = named(Workshop(proposer), 1, RunSettings(limits=Limits(rounds=5)))
    assert (told.verdict, told.code) == ("failed", "limit_rounds")
    assert told.images.charged == 0
    assert len(proposer.views) == 6


def test_a_paid_proposer_is_not_asked_beyond_its_limits() -> None:
    cost = Usage(calls=1, prompt_tokens=10, completion_tokens=1, usd=0.06)
    proposer = Scripted(draws("a fish"), draws("a cat"), draws("a dog"), CONCLUDE, paid=True, usage=cost)
    told = named(Workshop(proposer), 1)
    assert len(proposer.views) == 2
    assert told.cost.usd == pytest.approx(0.12)
    assert told.cost.llm_calls == 2
    assert told.name == "a fish"
    penniless = named(Workshop(Scripted(CONCLUDE, paid=True)), 1, RunSettings(limits=Limits(usd=0.0)))
    assert (penniless.verdict, penniless.code) == ("failed", "limit_usd")


def test_faulty_images_are_reported_and_never_scored() -> None:
    proposer = Scripted(draws("a fish", "a cat"), CONCLUDE)
    shop = Workshop(proposer, draw=Flaky())
    named(shop, 1)
    bad, good = proposer.views[1].trials
    assert bad.activations == (None, None)
    assert bad.images == (None, None)
    assert None not in good.activations


class Flaky:
    """A generator that paints cats and black fish."""

    card, fingerprint = world().draw.card, "flaky"

    def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
        return [
            DrawnImage(request=request, image=None, fault="black") if "fish" in request.prompt else drawn
            for request, drawn in zip(requests, world().draw(requests), strict=True)
        ]
