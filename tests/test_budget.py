"""One place says yes, no and how much."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.budget import REPEATS, Budget, Limits, Spent, Usage
from agent.records import Proposal


def proposals(*prompts: str) -> list[Proposal]:
    return [Proposal(prompt=prompt, intent="explore") for prompt in prompts]


def test_a_plan_is_trimmed_to_the_images_that_are_left() -> None:
    budget = Budget(Limits(images=50, race_images=20), Spent(search=25), per_prompt=2)
    granted = budget.grant(proposals("a", "b", "c", "d"), {})
    assert [each.prompt for each in granted.proposals] == ["a", "b"]
    assert [each.prompt for each in granted.refused] == ["c", "d"]
    assert "5 images left" in granted.refused[0].why
    assert (budget.left(), budget.left(race=True)) == (5, 25)


def test_empty_doubled_and_worn_out_prompts_are_refused_with_a_reason() -> None:
    granted = Budget(Limits(), Spent()).grant(proposals(" ", "a", "a", "b"), {"b": REPEATS})
    assert [each.prompt for each in granted.proposals] == ["a"]
    assert [each.why for each in granted.refused] == [
        "the prompt is empty",
        "it stands twice in this plan",
        f"it was drawn {REPEATS} times already",
    ]


@settings(deadline=None)
@given(st.lists(st.text(max_size=3), max_size=30), st.integers(0, 100), st.integers(1, 7))
def test_no_plan_ever_gets_more_than_is_left(prompts: list[str], search: int, per_prompt: int) -> None:
    budget = Budget(Limits(), Spent(search=search), per_prompt)
    granted = budget.grant(proposals(*prompts), {})
    assert len(granted.proposals) * per_prompt <= budget.left()
    assert len(granted.proposals) + len(granted.refused) == len(prompts)


@pytest.mark.parametrize(
    ("limits", "spent", "paid", "reached"),
    [
        (Limits(), Spent(), True, None),
        (Limits(), Spent(search=63), False, "images"),
        (Limits(rounds=3), Spent(rounds=3), False, "rounds"),
        (Limits(seconds=9.0), Spent(seconds=9.5), False, "seconds"),
        (Limits(llm_calls=2), Spent(usage=Usage(calls=2)), True, "llm_calls"),
        (Limits(tokens=10), Spent(usage=Usage(prompt_tokens=6, completion_tokens=4)), True, "tokens"),
        (Limits(usd=0.1), Spent(usage=Usage(usd=0.11)), True, "usd"),
        (Limits(usd=0.0), Spent(), True, "usd"),
        (Limits(usd=0.0, llm_calls=0), Spent(), False, None),
        (Limits(usd=0.1), Spent(usage=Usage(usd=None)), True, None),
        (Limits(usd=None, llm_calls=None), Spent(usage=Usage(calls=999, usd=99.0)), True, None),
    ],
)
def test_the_first_limit_reached_is_named(
    limits: Limits, spent: Spent, paid: bool, reached: str | None
) -> None:
    assert Budget(limits, spent).exhausted(paid=paid) == reached


def test_a_free_proposer_may_always_be_asked_to_conclude() -> None:
    budget = Budget(Limits(llm_calls=1), Spent(usage=Usage(calls=1)))
    assert budget.may_ask(paid=False)
    assert not budget.may_ask(paid=True)


def test_unknown_usage_stays_unknown() -> None:
    total = Usage(calls=1, prompt_tokens=5, completion_tokens=1, usd=0.1) + Usage(
        calls=1, prompt_tokens=None, completion_tokens=2, usd=None
    )
    assert (total.calls, total.prompt_tokens, total.completion_tokens, total.usd) == (2, None, 3, None)
    assert total.tokens is None
    assert Spent(usage=total).cost().usd is None


def test_charged_images_are_search_and_sealed_together() -> None:
    count = Spent(search=80, sealed=50).images(drawn=40)
    assert (count.search, count.sealed, count.charged, count.drawn) == (80, 50, 130, 40)


def test_a_race_that_leaves_nothing_to_search_is_refused() -> None:
    with pytest.raises(ValidationError, match="leaves nothing"):
        Limits(images=36)
    assert Limits.of(50).race_images == 18
