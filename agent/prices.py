"""What LLM tokens cost, where it is known. A model that is not listed has no price: unknown, never 0."""

from __future__ import annotations

from urllib.parse import urlsplit

from agent.budget import Usage
from sae.feature import Frozen

OPENAI_HOST = "api.openai.com"


class Price(Frozen):
    """US dollars per million tokens."""

    prompt: float
    completion: float


LISTED: dict[str, Price] = {
    "gpt-5": Price(prompt=1.25, completion=10.0),
    "gpt-5-mini": Price(prompt=0.25, completion=2.0),
    "gpt-5-nano": Price(prompt=0.05, completion=0.4),
    "gpt-4.1": Price(prompt=2.0, completion=8.0),
    "gpt-4.1-mini": Price(prompt=0.4, completion=1.6),
    "gpt-4.1-nano": Price(prompt=0.1, completion=0.4),
    "gpt-4o": Price(prompt=2.5, completion=10.0),
    "gpt-4o-mini": Price(prompt=0.15, completion=0.6),
    "o3": Price(prompt=2.0, completion=8.0),
    "o4-mini": Price(prompt=1.1, completion=4.4),
}
"""OpenAI's list prices of August 2025, by model name less its date. Cached input counts in full."""
SEEING = ("gpt-5", "gpt-4.1", "gpt-4o", "o3", "o4-mini")
"""Beginnings of the names of OpenAI models that take images."""


def listed_price(model: str, base_url: str | None) -> Price | None:
    """The list price of a model at OpenAI itself; None for any other endpoint or model."""
    if base_url is not None and urlsplit(base_url).hostname != OPENAI_HOST:
        return None
    name, _, date = model.partition("-20")
    return LISTED.get(name) if not date or date.replace("-", "").isdecimal() else None


def dollars(usage: Usage, price: Price | None) -> float | None:
    """The cost of some tokens; None where tokens or price are unknown."""
    if price is None or usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    return (usage.prompt_tokens * price.prompt + usage.completion_tokens * price.completion) / 1e6
