"""What names score for being names: random, shuffled, constant and true ones, and the untrained twin's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.answer import Answer
from evals.condition import Condition
from evals.conditions.controls import Constant, RandomName, Shuffled, TrueName, swapped
from evals.conditions.untrained import Untrained
from evals.plain_condition import PlainCondition
from evals.subject import Case, Truth
from evals.wordlist import names_of
from sae.feature import Feature
from sae.metrics import auroc
from tests.eval_world import FakeSubject, case_of


@pytest.fixture(scope="module")
def subject() -> FakeSubject:
    return FakeSubject()


def feature(index: int) -> Feature:
    return Feature(dictionary="fake", index=index)


def shuffled(subject: FakeSubject, told: Mapping[int, Answer], *, seed: int = 0) -> dict[int, Answer]:
    """What the control answers about every feature, given the agent's answers."""
    features = tuple(feature(index) for index in told)
    others = {"agent": {feature(index): answer for index, answer in told.items()}}
    return {
        index: Shuffled().answer(case_of(subject, index, features=features, others=others, seed=seed))
        for index in told
    }


def test_random_names_are_of_the_list_and_go_by_seed_and_feature(subject: FakeSubject) -> None:
    drawn = [RandomName().answer(case_of(subject, index % 15, seed=index // 15)).name for index in range(150)]
    again = [RandomName().answer(case_of(subject, index % 15, seed=index // 15)).name for index in range(150)]
    assert drawn == again
    assert {name for name in drawn if name is not None} <= set(names_of(subject.lexicon))
    assert len(set(drawn)) > 75


def test_shuffled_gives_every_feature_the_name_of_another(subject: FakeSubject) -> None:
    told = {
        index: Answer(name=f"name {index}", verdict="named", confidence=index / 10, images=99)
        for index in range(9)
    }
    given_out = shuffled(subject, told)
    assert Counter(answer.name for answer in given_out.values()) == Counter(
        answer.name for answer in told.values()
    )
    for index, answer in given_out.items():
        assert answer.name != told[index].name
        donor = next(each for each in told.values() if each.name == answer.name)
        assert (answer.verdict, answer.confidence, answer.images) == (donor.verdict, donor.confidence, 0)
    assert given_out == shuffled(subject, told)
    assert given_out != shuffled(subject, told, seed=1)


def test_shuffled_abstains_and_fails_where_the_agent_does(subject: FakeSubject) -> None:
    told = {
        0: Answer(name="red", verdict="named"),
        1: Answer(name=None, verdict="dense"),
        2: Answer(name="fish", verdict="weak"),
        3: Answer(name=None, code="llm_unreachable"),
    }
    given_out = shuffled(subject, told)
    assert [given_out[index].name for index in range(4)] == ["fish", None, "red", None]
    assert [given_out[index].verdict for index in range(4)] == ["weak", "dense", "named", None]
    assert [given_out[index].code for index in range(4)] == [None, None, None, "llm_unreachable"]


def test_one_name_cannot_be_shuffled(subject: FakeSubject) -> None:
    assert shuffled(subject, {0: Answer(name="red")})[0].code == "nothing_to_shuffle"
    with pytest.raises(ValueError, match="at least 2"):
        swapped({feature(0): "red"}, seed=0)


@given(
    st.lists(st.sampled_from(["red", "Red", "fish", "boat", "sand"]), min_size=2, max_size=14),
    st.integers(0, 9),
)
@settings(deadline=None, max_examples=60)
def test_nobody_keeps_its_name_where_that_is_possible(words: list[str], seed: int) -> None:
    names = {feature(index): word for index, word in enumerate(words)}
    taken = swapped(names, seed=seed)
    assert sorted(taken, key=str) == sorted(taken.values(), key=str) == sorted(names, key=str)
    assert all(one != other for one, other in taken.items())
    kept = sum(names[one].casefold() == names[other].casefold() for one, other in taken.items())
    largest = max(Counter(word.casefold() for word in words).values())
    # Of a name that more than half bear, the surplus has nowhere else to go.
    assert kept == max(0, 2 * largest - len(words))


def test_the_constant_name_has_the_highest_mean_auroc_of_the_list(subject: FakeSubject) -> None:
    case = case_of(subject, 0, features=tuple(feature(index) for index in (1, 4, 12)))
    name = Constant().answer(case).name
    assert subject.probe is not None
    means: dict[str, float] = {}
    for each in names_of(subject.lexicon):
        holds = subject.probe.holds(each)
        if holds is not None and 0 < holds.sum() < len(holds):
            active = [subject.probe.activations(index) for index in (1, 4, 12)]
            means[each] = float(np.mean([auroc(column[holds], column[~holds]) for column in active]))
    best = max(means, key=lambda each: means[each])
    assert name is not None
    assert means[name] == pytest.approx(means[best])
    assert {
        Constant().answer(case_of(subject, index, features=case.features)).name for index in (0, 3, 7)
    } == {name}


def test_without_labels_the_constant_name_is_the_commonest_truth(subject: FakeSubject) -> None:
    concepts = ["red", "fish", "fish", "", "", "", "red", "boat", "fish"]
    truth = {index: Truth(concept=concept, kind="object") for index, concept in enumerate(concepts)}
    blind = FakeSubject(probe=None, truth=truth)
    assert Constant().answer(case_of(blind, 3)).name == "fish"
    assert Constant().lacks(blind) is None
    nothing = FakeSubject(probe=None, truth={})
    assert Constant().lacks(nothing) == "labels or truth"
    assert Constant().answer(case_of(nothing, 3)).code == "no_truth"


def test_the_true_name_is_the_concept_and_abstains_where_there_is_none(subject: FakeSubject) -> None:
    assert TrueName().answer(case_of(subject, 4)).name == "striped fish"
    for answer in (
        TrueName().answer(case_of(subject, 8)),
        TrueName().answer(case_of(subject, 4, truth=None)),
    ):
        assert (answer.name, answer.verdict, answer.claims) == (None, "unexplained", False)
    assert TrueName().lacks(subject) is None
    assert TrueName().lacks(FakeSubject(truth={})) == "truth"


class Echo(PlainCondition):
    """Answers which feature it was asked about."""

    @property
    def title(self) -> str:
        """Its title."""
        return "echo"

    def answer(self, case: Case) -> Answer:
        """The feature."""
        return Answer(name=f"{case.feature} of {case.subject.dictionary}")


class UntrainedEcho(Untrained):
    """The control with another namer."""

    def agent(self) -> Condition:
        """An echo."""
        return Echo()


def test_untrained_has_the_agent_name_the_twin(subject: FakeSubject) -> None:
    twin = FakeSubject(dictionary="fake-untrained", twin=None)
    paired = FakeSubject(twin=twin)
    control = UntrainedEcho()
    assert control.lacks(paired) is None
    assert control.lacks(subject) == "an untrained twin"
    assert control.subject(paired) is twin
    answer = control.answer(case_of(twin, 3, feature=feature(3)))
    assert answer.name == "fake-untrained#3 of fake-untrained"
    assert Untrained().agent().title == "namesae"
    with pytest.raises(ValueError, match="no untrained twin"):
        control.subject(subject)


def test_controls_say_what_they_need() -> None:
    plain: list[Condition] = [RandomName(), Constant(), TrueName(), Untrained()]
    assert all(control.needs == () for control in plain)
    assert Shuffled().needs == ("agent",)
