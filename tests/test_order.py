"""The order of a batch: who helps most comes first."""

from __future__ import annotations

from agent.order import naming_order
from tests.naming_world import FEATURES, world
from tests.test_survey import CARD, LEXICON, reads
from tools.protocols import FeatureFacts


def order(facts: dict[int, FeatureFacts]) -> tuple[int, ...]:
    return naming_order(facts, LEXICON, card=CARD)


def test_a_feature_whose_prompts_others_want_comes_before_one_alone() -> None:
    facts = {
        0: reads("and", "wooden", "boat"),
        1: reads("one", "fish"),
        2: reads("one", "fish"),
        3: reads("one", "fish"),
    }
    # The last of those that wish for the same helps nobody any more.
    assert order(facts) == (1, 2, 0, 3)


def test_after_one_of_a_kind_another_kind_comes() -> None:
    facts = {at: reads("one", "fish") for at in range(3)} | {at: reads("one", "red") for at in range(3, 5)}
    first, second, *_ = order(facts)
    assert {first < 3, second < 3} == {True, False}


def test_all_are_in_it_once_the_dead_and_dense_last_and_it_is_the_same_again() -> None:
    facts = {index: world().exemplars.facts(index) for index in FEATURES}
    found = order(facts)
    assert sorted(found) == sorted(FEATURES)
    assert found[-2:] == (8, 9)
    assert found == order(dict(reversed(facts.items())))


def test_ties_are_by_index() -> None:
    facts = {index: reads("one", "fish") for index in (7, 3, 5)}
    assert order(facts) == (3, 5, 7)
