"""What naming would use is told beforehand, from earlier runs where there are some, and nothing is done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.budget import Limits
from agent.estimate import MIN_RUNS, Prospect, estimate
from agent.prices import Price
from agent.records import Cost, Explanation, ImageCount
from sae.feature import Feature
from tests.command_line import here, plant

LLM = Prospect("openai:m", paid=True, price=Price(prompt=1.0, completion=10.0))
LEXICAL = Prospect("lexical", paid=False)


def ran(calls: int, *, tokens: int | None = 1000, **changes: Any) -> Explanation:
    told: dict[str, Any] = {
        "feature": Feature(dictionary="d", index=calls),
        "name": "fish",
        "verdict": "named",
        "confidence": 0.9,
        "images": ImageCount(search=10 * calls, sealed=50, charged=10 * calls + 50),
        "cost": Cost(
            llm_calls=calls, prompt_tokens=tokens, completion_tokens=100, usd=None, seconds=2.0 * calls
        ),
        "proposer": "openai:m",
        **changes,
    }
    return Explanation(**told)


@pytest.fixture
def planted(redis: Any, redis_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted dictionary and an empty store."""
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)


def test_earlier_runs_say_what_the_next_will_use() -> None:
    told = estimate(Limits(), LLM, n_features=10, history=[ran(calls) for calls in (2, 4, 6, 8, 10)])
    assert (told.runs, told.basis, told.features) == (5, "5 earlier runs", 10)
    assert told.llm_calls.typical == 60
    assert (told.images.low, told.images.typical, told.images.high) == (780, 1100, 1420)
    assert told.tokens is not None and told.tokens.typical == 11_000
    assert told.usd is not None and told.usd.typical == pytest.approx(10 * (1000 * 1 + 100 * 10) / 1e6)
    assert told.seconds is not None and told.seconds.typical == 120


def test_a_limit_is_never_exceeded() -> None:
    limits = Limits(images=40, race_images=10, sealed=20, llm_calls=3, usd=0.001, tokens=500)
    told = estimate(limits, LLM, n_features=2, history=[ran(calls) for calls in (2, 4, 6, 8, 10)])
    assert told.images.high == 120
    assert told.llm_calls.high == 6
    assert told.usd is not None and told.usd.high == 0.002
    assert told.tokens is not None and told.tokens.high == 1000


@pytest.mark.parametrize(
    "history",
    [
        [],
        [ran(2)] * (MIN_RUNS - 1),
        [ran(2, stored=True)] * 9,
        [ran(2, verdict="failed")] * 9,
    ],
)
def test_without_earlier_runs_defaults_are_told_as_such(history: Sequence[Explanation]) -> None:
    told = estimate(Limits(), LLM, n_features=1, history=history)
    assert told.runs == 0 and "defaults" in told.basis
    assert told.images.high == 150 and told.seconds is None
    assert told.usd is not None and 0 < told.usd.low < told.usd.typical <= told.usd.high <= 0.10


def test_what_is_unknown_is_not_told_as_a_figure() -> None:
    unpriced = LLM._replace(price=None)
    assert estimate(Limits(), unpriced, n_features=1).usd is None
    uncounted = [ran(4, tokens=None)] * 5
    told = estimate(Limits(), LLM, n_features=1, history=uncounted)
    assert (told.tokens, told.usd) == (None, None)


def test_who_costs_nothing_is_told_to_cost_nothing() -> None:
    told = estimate(Limits(), LEXICAL, n_features=3)
    assert told.usd is not None and told.usd.high == 0 == told.llm_calls.high
    free = LLM._replace(price=Price(prompt=0, completion=0))
    usd = estimate(Limits(), free, n_features=3).usd
    assert usd is not None and usd.high == 0


@given(st.lists(st.integers(1, 40), min_size=3, max_size=30), st.integers(0, 50))
def test_low_typical_and_high_are_in_order(calls: list[int], count: int) -> None:
    told = estimate(Limits(), LLM, n_features=count, history=[ran(each) for each in calls])
    for each in (told.images, told.llm_calls, told.tokens, told.usd, told.seconds):
        assert each is not None and each.low <= each.typical <= each.high


def test_a_dry_run_draws_nothing_and_asks_nothing(
    capsys: pytest.CaptureFixture[str], planted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert here("name", "fake#0-3", "--dry-run", "--proposer", "openai") == 0
    told = capsys.readouterr().out
    assert "Naming 4 features with the openai:gpt-5-mini proposer" in told
    assert "dollars      unknown" in told and "OPENAI_PRICE_PROMPT" in told
    assert told.endswith("Nothing was drawn and nobody was asked.\n")
    assert here("name", "fake#0-3", "--dry-run", "--json", "--proposer", "lexical") == 0
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert (record["schema"], record["type"], record["features"]) == (1, "estimate", 4)
    assert record["usd"] == {"low": 0.0, "typical": 0.0, "high": 0.0}


def test_a_dry_run_counts_what_is_stored_and_learns_from_what_ran(
    capsys: pytest.CaptureFixture[str], planted: None
) -> None:
    assert here("name", "fake#0,1,2", "--quiet") == 0
    capsys.readouterr()
    assert here("name", "fake#0-3", "--dry-run", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["features"], record["stored"], record["runs"]) == (4, 3, 3)
    assert 50 < record["images"]["typical"] <= 150
    assert record["seconds"]["typical"] > 0
    assert here("show", "fake#3") == 2
