"""What tokens cost is known, set by the person, or said to be unknown."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agent.budget import Usage
from agent.prices import Price, dollars, listed_price, price_table, price_text, takes_images, usage_of
from agent.records import Cost, NodeCost
from agent.usage import total_cost
from namesae.proposers import endpoint_of
from namesae.settings import load_settings
from tools.errors import UsageError


def test_prices_are_known_only_where_they_are_listed() -> None:
    assert listed_price("gpt-5-mini", None) == listed_price(
        "gpt-5-mini-2025-08-07", "https://api.openai.com/v1"
    )
    assert listed_price("gpt-5-mini", None) != listed_price("gpt-5", None)
    assert listed_price("gpt-5-mini", "http://localhost:8000/v1") is None
    assert listed_price("gpt-5-mini", "https://api.openai.com.evil.example/v1") is None
    assert listed_price("gpt-99", None) is None
    assert dollars(Usage(calls=1, prompt_tokens=None), Price(prompt=1, completion=1)) is None
    assert dollars(Usage(calls=1, prompt_tokens=10**6, completion_tokens=0), None) is None


def test_the_table_says_of_when_and_where_it_is() -> None:
    table = price_table()
    assert table.date == "2025-08" and table.source.startswith("https://")
    assert all(price.cached is not None and price.cached < price.prompt for price in table.models.values())
    assert takes_images("gpt-5-mini") and not takes_images("llama-3")


def test_a_person_is_told_where_a_price_comes_from() -> None:
    assert "list price of 2025-08" in price_text("gpt-5-mini", None)
    assert "unknown" in price_text("gpt-5-mini", "http://127.0.0.1:8000/v1")
    assert price_text("m", None, own=Price(prompt=0, completion=0)).startswith("your price: $0 and $0")


def test_cached_tokens_cost_what_they_cost() -> None:
    price = Price(prompt=10.0, completion=1.0, cached=1.0)
    usage = Usage(calls=1, prompt_tokens=1000, completion_tokens=100, cached_tokens=400)
    assert dollars(usage, price) == pytest.approx((600 * 10 + 400 * 1 + 100) / 1e6)
    dearer = price.model_copy(update={"cached": None})
    assert dollars(usage, dearer) == pytest.approx((1000 * 10 + 100) / 1e6)
    too_many = usage.model_copy(update={"cached_tokens": 5000})
    assert dollars(too_many, price) == pytest.approx((1000 * 1 + 100) / 1e6)


def test_details_are_read_where_an_endpoint_tells_them() -> None:
    told = {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    usage = usage_of(told, None)
    assert (usage.cached_tokens, usage.reasoning_tokens, usage.usd) == (4, 3, None)
    assert usage_of({"prompt_cache_hit_tokens": 7}, None).cached_tokens == 7


@pytest.mark.parametrize("wrong", [None, -1, True, "7", 1.5, [], 2**60])
def test_a_count_that_is_none_is_unknown(wrong: object) -> None:
    counts = {"prompt_tokens": wrong, "completion_tokens": wrong, "prompt_tokens_details": wrong}
    usage = usage_of(counts, Price(prompt=1, completion=1))
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.usd) == (None,) * 4


def test_usage_adds_up_by_node_and_unknown_stays_unknown() -> None:
    first = Usage(calls=1, prompt_tokens=5, completion_tokens=1, usd=0.1).at("propose", seconds=1.5)
    second = Usage(calls=1, prompt_tokens=None, completion_tokens=2, usd=None).at("propose", seconds=0.5)
    other = Usage(calls=1, prompt_tokens=7, completion_tokens=1, usd=0.2).at("ask", seconds=2.0)
    total = Usage() + first + second + other
    assert total.by_node == (
        NodeCost(node="propose", calls=2, prompt_tokens=None, completion_tokens=3, usd=None, seconds=2.0),
        NodeCost(node="ask", calls=1, prompt_tokens=7, completion_tokens=1, usd=0.2, seconds=2.0),
    )


def test_costs_of_runs_add_up() -> None:
    one = Cost(llm_calls=1, usd=0.5, seconds=1.0, cached_tokens=3, reasoning_tokens=None)
    total = total_cost([one, one])
    assert (total.llm_calls, total.usd, total.seconds) == (2, 1.0, 2.0)
    assert (total.cached_tokens, total.reasoning_tokens) == (6, None)
    assert total_cost([]).cached_tokens == 0


def test_a_person_sets_the_price_of_their_own_model() -> None:
    local = {"openai_base_url": "http://127.0.0.1:1/v1", "openai_api_key": "none"}
    assert endpoint_of(load_settings(**local)).price is None
    free = load_settings(**local, openai_price_prompt=0.0, openai_price_completion=0.0)
    assert endpoint_of(free).price == Price(prompt=0.0, completion=0.0)
    with pytest.raises(UsageError, match="set the other one too"):
        endpoint_of(load_settings(**local, openai_price_prompt=1.0))
    with pytest.raises(ValidationError):
        Price(prompt=-1, completion=0)
