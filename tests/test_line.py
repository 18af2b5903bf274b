"""LINE's loop as a condition: its seeds, its budget, its history, its control classes, its answer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from evals.answer import Answer
from evals.conditions.line import Line, removal_chances, updated
from evals.control_classes import ControlClasses
from evals.seed_classes import inside_seeds, seed_classes
from evals.subject import Case
from evals.suggester import Reward, Scored
from evals.trying import NOTHING_SCORED, attempts, drawn_as
from sae.metrics import auroc
from tests.eval_world import FakeSubject, case_of, labels_of, probe_set, words_of_the_world
from tests.naming_world import Workshop, world
from tests.scripted_suggester import Scripted, many_texts
from tools.fake_images import FakeGenerator

STRIPED, FISH, ANIMAL, DEAD, BOAT = 0, 1, 7, 8, 12
CLASSES = ("cat", "bird", "fish", "horse", "tree", "flower", "car", "train", "boat", "house", "ball")


def ran(index: int, *texts: str | None, line: Line | None = None) -> tuple[Answer, Scripted]:
    scripted = Scripted([*texts, *many_texts()])
    return (line or Line()).search(case_of(FakeSubject(), index), scripted), scripted


def test_line_as_published_costs_105_images_and_11_calls() -> None:
    answer, scripted = ran(FISH)
    assert (answer.images, len(scripted.wishes), answer.cost.llm_calls) == (105, 11, 11)
    assert answer.cost.prompt_tokens == 1100
    assert answer.cost.usd == pytest.approx(0.011)
    assert len(answer.steps) == 21
    assert [step.charged for step in answer.steps] == list(range(5, 106, 5))
    assert all(len(step.images) == len(step.activations) == 5 for step in answer.steps)


def test_options_change_the_budget_and_the_title() -> None:
    line = Line(reward="mean", steps=3, images=2, top_seeds=2, random_seeds=1, summary_of=2, history=4)
    answer, scripted = ran(FISH, line=line)
    assert (answer.images, len(scripted.wishes)) == ((3 + 3 + 1) * 2, 4)
    assert line.title == "LINE (mean activation, 3 x 2, history of 4, 2 + 1 seeds, summary of 2)"
    assert [Line().title, Line(reward="mad").title] == ["LINE (AUC)", "LINE (MAD)"]
    assert Line(seed_classes=("fish",)).title == "LINE (AUC, own seed classes)"
    with pytest.raises(ValidationError):
        Line(images=0)


def test_seeds_are_the_classes_the_feature_likes_best_and_random_others() -> None:
    answer, _ = ran(ANIMAL)
    seeds = [step.text for step in answer.steps if step.note == "seed"]
    assert len(set(seeds)) == 10
    assert set(seeds[:4]) == {"cat", "bird", "fish", "horse"}
    assert set(seeds) <= set(CLASSES)


def test_without_labels_all_seeds_are_random_and_differ_between_features() -> None:
    subject = FakeSubject(probe=None)
    runs = [Line(reward="auc").search(case_of(subject, index), Scripted(many_texts())) for index in range(8)]
    seeds = [tuple(step.text for step in run.steps[:10]) for run in runs]
    assert all(len(set(each)) == 10 and set(each) <= set(CLASSES) for each in seeds)
    assert len(set(seeds)) > 4
    assert {run.images for run in runs} == {105}


def test_the_same_case_gets_the_same_answer() -> None:
    first, second = (ran(FISH)[0] for _ in range(2))
    assert first.steps == second.steps
    assert first.name == second.name


def test_the_answer_is_the_best_of_everything_scored() -> None:
    answer, _ = ran(STRIPED, "red", "striped", "water", line=Line(reward="mean"))
    best = max((step for step in answer.steps if step.score is not None), key=lambda step: step.score or 0.0)
    assert answer.name == best.text
    assert answer.score == best.score
    assert "striped" in best.text
    assert [step.best for step in answer.steps].count("striped") >= 1
    assert answer.verdict is None and answer.claims


def test_the_best_stays_the_answer_when_the_history_forgets_nothing_better() -> None:
    answer, scripted = ran(FISH, *["a black sky"] * 11)
    assert answer.name == "fish"
    assert answer.steps[-1].best == "fish"
    assert len(scripted.wishes) == 11


def test_the_search_score_is_measured_against_the_whole_control_set() -> None:
    answer, _ = ran(FISH)
    case = case_of(FakeSubject(), FISH)
    [winner] = [step for step in answer.steps if step.text == answer.name]
    control = [code.activation(FISH) for code in case.toolbox.score(case.toolbox.control.images)]
    assert answer.search_score == pytest.approx(auroc([each or 0.0 for each in winner.activations], control))


def test_images_are_drawn_with_their_index_as_seed_and_shared_between_features() -> None:
    workshop = Workshop()
    for index in (FISH, BOAT):
        case = case_of(FakeSubject(), index, toolbox=workshop.toolbox)
        Line(steps=1, images=3, seed_classes=CLASSES).search(case, Scripted(["red", "blue"] * 2))
    assert {request.seed for request in workshop.draw.counts} == {0, 1, 2}
    assert set(workshop.draw.counts.values()) == {1}
    assert not workshop.bank.rows


def test_every_wish_says_what_was_tried_and_shows_the_history_best_first() -> None:
    answer, scripted = ran(FISH)
    tried = [step.text for step in answer.steps]
    assert [len(wish.forbidden) for wish in scripted.wishes] == list(range(10, 21))
    assert scripted.wishes[-1].forbidden == tuple(tried[:20])
    for wish in scripted.wishes[:-1]:
        scores = [each.score for each in wish.history]
        assert len(scores) == 10 and scores == sorted(scores, reverse=True)
        assert (wish.goal, wish.wanted, wish.images, wish.reward) == ("next", 1, 5, "auc")


def test_the_last_question_is_about_the_three_best_of_all() -> None:
    answer, scripted = ran(FISH, "red fish", "blue fish")
    summary = scripted.wishes[-1]
    scores = sorted((step.score for step in answer.steps[:-1] if step.score is not None), reverse=True)
    assert summary.goal == "summary"
    assert [each.score for each in summary.history] == scores[:3]
    assert answer.steps[-1].note == "summary"
    assert answer.steps[-1].score is not None


def test_an_unknown_word_is_unscored_free_and_forbidden() -> None:
    answer, scripted = ran(FISH, "glorb fish")
    [step] = [step for step in answer.steps if step.text == "glorb fish"]
    assert (step.score, step.images, step.charged) == (None, (), 50)
    assert step.note.startswith("step 1: fake does not know 'glorb'")
    assert "glorb fish" in scripted.wishes[1].forbidden
    assert answer.images == 100


def test_a_bad_reply_costs_its_step_and_no_images() -> None:
    answer, scripted = ran(FISH, None, "red")
    [step] = [step for step in answer.steps if step.note == "step 1: it cannot be used"]
    assert (step.text, step.score, step.charged) == ("", None, 50)
    assert (answer.images, len(scripted.wishes)) == (100, 11)


def test_a_repeated_concept_is_not_drawn_again() -> None:
    answer, _ = ran(FISH, "red", "Red")
    assert [step.note for step in answer.steps if step.text == "Red"] == ["step 2: tried before"]
    assert answer.images == 100


def test_faulty_images_are_charged_and_score_nothing() -> None:
    workshop = Workshop(draw=FakeGenerator(world().store, faulty={"red": "black"}))
    case = case_of(FakeSubject(), FISH, toolbox=workshop.toolbox)
    answer = Line(steps=1, summary_of=0).search(case, Scripted(["red"]))
    last = answer.steps[-1]
    assert (last.text, last.score, last.images) == ("red", None, (None,) * 5)
    assert answer.images == 55


def test_nothing_scored_is_a_failure_without_a_name() -> None:
    case = case_of(FakeSubject(), FISH)
    answer = Line(seed_classes=("glorb", "snark")).search(case, Scripted([None] * 11))
    assert (answer.name, answer.code, answer.images) == (None, NOTHING_SCORED, 0)
    assert not answer.claims


def test_a_better_concept_takes_the_place_of_the_worst() -> None:
    history = [Scored("a", 0.9), Scored("b", 0.1), Scored("c", 0.5)]
    now = updated(history, Scored("d", 0.2), size=3, random=np.random.default_rng(0))
    assert now == [Scored("a", 0.9), Scored("c", 0.5), Scored("d", 0.2)]


def test_a_worse_concept_takes_the_place_of_a_random_one_by_its_distance_from_the_best() -> None:
    history = [Scored("a", 1.0), Scored("b", 0.9), Scored("c", 0.7)]
    assert removal_chances(history).tolist() == pytest.approx([0.0, 0.25, 0.75])
    random = np.random.default_rng(0)
    gone: Counter[str] = Counter()
    for _ in range(2000):
        now = updated(history, Scored("d", 0.5), size=3, random=random)
        assert now[-1] == Scored("d", 0.5) and len(now) == 3
        gone.update({each.text for each in history} - {each.text for each in now})
    assert gone["a"] == 0
    assert gone["c"] / 2000 == pytest.approx(0.75, abs=0.04)


def test_equal_scores_are_removed_alike_and_a_short_history_grows() -> None:
    assert removal_chances([Scored("a", 0.5), Scored("b", 0.5)]).tolist() == [0.5, 0.5]
    grown = updated([Scored("a", 0.5)], Scored("b", 0.0), size=2, random=np.random.default_rng(0))
    assert len(grown) == 2


def classes_of(case: Case) -> ControlClasses:
    return ControlClasses(case, seed_classes(case.subject.lexicon))


def test_control_classes_are_sampled_by_what_they_lack_in_similarity() -> None:
    chances = classes_of(case_of(FakeSubject(), FISH)).chances("red fish")
    assert tuple(chances) == CLASSES
    assert sum(chances.values()) == pytest.approx(1.0)
    cosine = 1 / np.sqrt(2)
    assert chances["fish"] / chances["cat"] == pytest.approx(1 - cosine, abs=1e-6)
    plain = classes_of(case_of(FakeSubject(joint=None), FISH)).chances("red fish")
    assert plain["fish"] / plain["cat"] == pytest.approx(0.5)
    assert classes_of(case_of(FakeSubject(), FISH)).chances("fish")["fish"] == pytest.approx(0.0)


def test_a_control_class_is_fifty_labelled_images_of_it_and_depends_on_the_concept() -> None:
    control = classes_of(case_of(FakeSubject(), FISH))
    labels = labels_of(probe_set())
    columns = [tuple(labels.active[labels.shows[:, labels.words.index(name)], FISH][:50]) for name in CLASSES]
    found = [control.sample(f"concept {number}") for number in range(20)]
    assert all(rows is not None and tuple(rows) in columns for rows in found)
    assert len({tuple(rows) for rows in found if rows is not None}) > 1
    again = control.sample("concept 3")
    assert again is not None and found[3] is not None and np.array_equal(again, found[3])


def test_mad_needs_a_class_on_which_the_feature_varies() -> None:
    control = classes_of(case_of(FakeSubject(), DEAD))
    assert control.sample("red", varied=True) is None
    assert control.sample("red") is not None
    answer, _ = ran(DEAD, line=Line(reward="mad"))
    assert (answer.name, answer.code, answer.images) == (None, NOTHING_SCORED, 105)


@pytest.mark.parametrize("reward", ["auc", "mad", "mean"])
def test_every_reward_ranks_the_planted_class_first(reward: Reward) -> None:
    answer, _ = ran(BOAT, line=Line(reward=reward, steps=0, summary_of=0))
    assert answer.name == "boat"


def test_a_text_of_known_words_is_drawn_as_the_lexicon_composes_it() -> None:
    case = case_of(FakeSubject(), FISH)
    assert drawn_as("striped fish", case) == "a striped fish"
    assert drawn_as("fish and bird", case) == "fish and bird"
    assert drawn_as("glorb fish", case) == "glorb fish"
    [attempt] = attempts(case, ["striped fish"], seeds=(0, 1, 2))
    assert (attempt.charged, len(attempt.usable)) == (3, 3)


def test_concepts_inside_the_seeds_are_those_of_object_words_alone() -> None:
    lexicon = words_of_the_world()
    inside = [text for text in ("fish", "a fish and a tree", "fish or cat") if inside_seeds(text, lexicon)]
    assert len(inside) == 3
    outside = ("striped fish", "animal", "red", "not fish", "glorb fish", "")
    assert not any(inside_seeds(text, lexicon) for text in outside)
    assert seed_classes(lexicon) == CLASSES
