"""What LLM tokens cost, where it is known (prices.json). A model without a price is unknown, never free."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from agent.budget import Usage
from sae.feature import Frozen

OPENAI_HOST = "api.openai.com"


class Price(Frozen):
    """US dollars per million tokens."""

    prompt: float = Field(ge=0.0, allow_inf_nan=False)
    completion: float = Field(ge=0.0, allow_inf_nan=False)
    cached: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """Of prompt tokens that the endpoint had cached; None: they cost as much as others."""


class PriceTable(Frozen):
    """OpenAI's list prices at one date."""

    date: str
    """Year and month."""
    source: str
    unit: str
    models: dict[str, Price]
    """By model name less its date."""
    seeing: tuple[str, ...]
    """Beginnings of the names of models that take images."""


@cache
def price_table() -> PriceTable:
    """The table that comes with this version."""
    text = files("agent").joinpath("prices.json").read_text(encoding="utf-8")
    return PriceTable.model_validate_json(text)


def listed_price(model: str, base_url: str | None) -> Price | None:
    """The list price of a model at OpenAI itself; None for any other endpoint or model."""
    if base_url is not None and urlsplit(base_url).hostname != OPENAI_HOST:
        return None
    name, _, date = model.partition("-20")
    return price_table().models.get(name) if not date or date.replace("-", "").isdecimal() else None


def price_text(model: str, base_url: str | None, *, own: Price | None = None) -> str:
    """Where a price comes from, or why there is none, as half a sentence; ``own``: what the person set."""
    if own is not None:
        return f"your price: ${own.prompt:g} and ${own.completion:g} per million tokens in and out"
    price, table = listed_price(model, base_url), price_table()
    if price is None:
        return (
            f"the price of {model} is unknown: it is not in the list of {table.date} ({table.source}); "
            "set NAMESAE_OPENAI_PRICE_PROMPT and NAMESAE_OPENAI_PRICE_COMPLETION, 0 for a server of your own"
        )
    return (
        f"list price of {table.date} ({table.source}): ${price.prompt:g} and ${price.completion:g} per "
        "million tokens in and out"
    )


def takes_images(model: str) -> bool:
    """Whether a model is known by its name to take images."""
    return model.startswith(price_table().seeing)


def dollars(usage: Usage, price: Price | None) -> float | None:
    """The cost of some tokens; None where tokens or price are unknown."""
    if price is None or usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    cached = min(usage.cached_tokens or 0, usage.prompt_tokens) if price.cached is not None else 0
    fresh = usage.prompt_tokens - cached
    rates = (
        (fresh, price.prompt),
        (cached, price.cached or 0.0),
        (usage.completion_tokens, price.completion),
    )
    return sum(tokens * rate for tokens, rate in rates) / 1e6


def usage_of(counts: dict[str, Any] | None, price: Price | None) -> Usage:
    """One call's usage from an endpoint's record; what it does not tell, or tells wrongly, is unknown.

    Cached prompt tokens are counted among prompt_tokens, reasoning tokens among completion_tokens.
    """
    told = counts or {}
    usage = Usage(
        calls=1,
        prompt_tokens=_count(told.get("prompt_tokens")),
        completion_tokens=_count(told.get("completion_tokens")),
        cached_tokens=_count(
            _within(told, "prompt_tokens_details", "cached_tokens", told.get("prompt_cache_hit_tokens"))
        ),
        reasoning_tokens=_count(_within(told, "completion_tokens_details", "reasoning_tokens", None)),
    )
    return usage.model_copy(update={"usd": dollars(usage, price)})


def _within(told: dict[str, Any], part: str, name: str, otherwise: Any) -> Any:
    details = told.get(part)
    return details.get(name, otherwise) if isinstance(details, dict) else otherwise


def _count(told: object) -> int | None:
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < 2**53 else None
