"""MILS's loop and the single proposal as conditions: budget, pool, answer."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agent.budget import Usage
from agent.plans import Candidate, ConcludePlan, DrawPlan
from agent.proposer import Turn, View
from evals.answer import Answer
from evals.conditions import make_condition
from evals.conditions.line import Line
from evals.conditions.mils import Mils, bare_prompt
from evals.conditions.one_proposal import NO_NAME, OneProposal
from evals.suggester import Scored
from evals.trying import NOTHING_SCORED
from sae.metrics import auroc
from tests.eval_world import FakeSubject, case_of, words_of_the_world
from tests.naming_world import Workshop, world
from tests.scripted_suggester import CALL, Scripted, many_texts
from tools.fake_images import FAKE_VOCABULARY, FakeGenerator

STRIPED, FISH, STRIPED_FISH = 0, 1, 4


def ran(index: int, *texts: str | None, mils: Mils) -> tuple[Answer, Scripted]:
    scripted = Scripted([*texts, *many_texts()])
    return mils.search(case_of(FakeSubject(), index), scripted), scripted


def test_mils_as_published_costs_951_images_and_19_calls() -> None:
    answer, scripted = ran(STRIPED_FISH, mils=Mils())
    assert (answer.images, len(scripted.wishes), answer.cost.llm_calls) == (951, 19, 19)
    assert len(answer.steps) == 951
    assert {len(step.images) for step in answer.steps} == {1}
    assert [step.charged for step in answer.steps] == list(range(1, 952))
    assert {wish.wanted for wish in scripted.wishes} == {50}
    assert {wish.goal for wish in scripted.wishes} == {"more"}


def test_the_pool_keeps_the_twenty_best_of_kept_and_new() -> None:
    answer, scripted = ran(STRIPED, mils=Mils(steps=4))
    so_far = [Scored(step.text, step.score) for step in answer.steps if step.score is not None]
    for step, wish in enumerate(scripted.wishes):
        seen = so_far[: 1 + 50 * step]
        assert list(wish.history) == sorted(seen, key=lambda each: -each.score)[:20]
        assert set(wish.forbidden) == {each.text for each in seen}


def test_the_answer_is_the_text_of_the_highest_activation() -> None:
    answer, _ = ran(STRIPED_FISH, mils=Mils(steps=3))
    best = max(answer.steps, key=lambda step: step.score or 0.0)
    assert (answer.name, answer.score) == (best.text, best.score)
    assert answer.steps[-1].best == answer.name
    case = case_of(FakeSubject(), STRIPED_FISH)
    control = [code.activation(STRIPED_FISH) for code in case.toolbox.score(case.toolbox.control.images)]
    assert answer.search_score == pytest.approx(auroc([best.score or 0.0], control))


def test_a_suite_starts_it_from_the_seed_classes_that_line_gets() -> None:
    condition, line = make_condition("mils"), make_condition("line-auc")
    assert (
        isinstance(condition, Mils)
        and condition.title == "MILS (from seed classes)"
        and isinstance(line, Line)
    )
    case = case_of(FakeSubject(), FISH)
    scripted = Scripted(many_texts())
    answer = condition.search(case, scripted)
    begun = line.search(case, Scripted(many_texts())).steps
    seeds = [[step.text for step in steps if step.note == "seed"] for steps in (answer.steps, begun)]
    assert seeds[0] == seeds[1] and 1 < len(seeds[0]) <= 10
    assert (answer.images, len(scripted.wishes)) == (len(seeds[0]) + 19 * 50, 19)


def test_all_images_have_the_one_seed() -> None:
    workshop = Workshop()
    case = case_of(FakeSubject(), FISH, toolbox=workshop.toolbox)
    Mils(steps=2, proposals=7).search(case, Scripted(many_texts()))
    assert {request.seed for request in workshop.draw.counts} == {2024}
    assert len(workshop.draw.counts) == 15
    assert not workshop.bank.rows


def test_texts_tried_before_are_neither_drawn_nor_charged_again() -> None:
    answer, scripted = ran(FISH, "red", "red", "Red", "blue", mils=Mils(steps=2, proposals=4))
    assert [step.text for step in answer.steps][1:3] == ["red", "blue"]
    assert answer.images == 1 + 2 + 4
    assert len(scripted.wishes) == 2


def test_an_unknown_word_spoils_its_own_text_alone() -> None:
    answer, scripted = ran(FISH, "a glorb", "a fish", mils=Mils(steps=2, proposals=2))
    step = next(step for step in answer.steps if step.text == "a glorb")
    assert (step.score, step.images, step.charged) == (None, (), 1)
    assert "glorb" in step.note
    assert answer.images == 1 + 1 + 2
    assert "a glorb" in scripted.wishes[1].forbidden
    assert "a glorb" not in [each.text for each in scripted.wishes[1].history]


def test_a_bad_reply_costs_its_step() -> None:
    answer, scripted = ran(FISH, None, mils=Mils(steps=3, proposals=5))
    assert "step 1: it cannot be used" in [step.note for step in answer.steps]
    assert (answer.images, answer.cost.llm_calls, len(scripted.wishes)) == (11, 3, 3)


def test_more_texts_than_asked_for_are_cut() -> None:
    class Generous(Scripted):
        def suggest(self, wish: Any) -> Any:
            return super().suggest(wish._replace(wanted=30))

    answer = Mils(steps=1, proposals=3).search(case_of(FakeSubject(), FISH), Generous(many_texts()))
    assert answer.images == 4


def test_the_pool_starts_with_a_bare_prompt_that_can_be_drawn() -> None:
    assert bare_prompt(case_of(FakeSubject(), FISH)) == "animal"
    knows_thing = FakeGenerator(world().store, vocabulary=(*FAKE_VOCABULARY, "thing"))
    case = case_of(FakeSubject(), FISH, toolbox=Workshop(draw=knows_thing).toolbox)
    assert bare_prompt(case) == "thing"


def test_nothing_scored_is_a_failure() -> None:
    faulty = FakeGenerator(world().store, faulty={"animal": "filtered"})
    case = case_of(FakeSubject(), FISH, toolbox=Workshop(draw=faulty).toolbox)
    answer = Mils(steps=2).search(case, Scripted([]))
    assert (answer.name, answer.code, answer.images) == (None, NOTHING_SCORED, 1)


def test_the_title_says_what_deviates() -> None:
    assert Mils().title == "MILS"
    assert Mils(steps=5, proposals=20).title == "MILS (5 x 20)"
    assert Mils(keep=10, seed=1).title == "MILS (10 kept, seed 1)"
    with pytest.raises(ValidationError):
        Mils(keep=0)


class Concludes:
    """A proposer that answers every view with one turn."""

    name, fingerprint, paid, priced = "scripted", "scripted", True, True

    def __init__(self, turn: Turn) -> None:
        self.turn, self.views = turn, list[View]()

    def plan(self, view: View) -> Turn:
        """Remember the view."""
        self.views.append(view)
        return self.turn


def concluding(*names: str) -> Concludes:
    candidates = tuple(Candidate(name=name, prompts=(name,)) for name in names)
    return Concludes(Turn(plan=ConcludePlan(candidates=candidates), usage=CALL))


def test_one_proposal_is_the_first_name_and_draws_nothing() -> None:
    proposer = concluding("fish", "animal")
    workshop = Workshop()
    case = case_of(FakeSubject(proposer=proposer), FISH, toolbox=workshop.toolbox)
    answer = OneProposal().answer(case)
    assert (answer.name, answer.images, answer.cost.llm_calls) == ("fish", 0, 1)
    assert answer.cost.usd == pytest.approx(0.001)
    assert [step.text for step in answer.steps] == ["fish", "animal"]
    assert not workshop.draw.counts
    assert not workshop.events
    [view] = proposer.views
    assert view.must_conclude and view.images_left == view.race_left == 0
    assert not view.trials and not view.hints
    assert len(view.exemplars) > 6
    assert view.facts == case.toolbox.exemplars.facts(FISH)


@pytest.mark.parametrize("plan", [ConcludePlan(), DrawPlan(proposals=())])
def test_a_proposer_without_a_name_is_a_failure(plan: ConcludePlan | DrawPlan) -> None:
    proposer = Concludes(Turn(plan=plan, usage=Usage(calls=2)))
    answer = OneProposal().answer(case_of(FakeSubject(proposer=proposer), FISH))
    assert (answer.name, answer.code, answer.cost.llm_calls) == (None, NO_NAME, 2)


def test_the_lexical_proposer_names_from_tags_alone() -> None:
    answer = OneProposal().answer(case_of(FakeSubject(), FISH))
    assert answer.name is not None
    assert set(words_of_the_world().read(answer.name)) & {"fish", "animal"}
