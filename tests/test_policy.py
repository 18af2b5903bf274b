"""The policy server: it understands all that an LLM is told, knows nothing else, and answers like one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import redis as redis_module
from hypothesis import given
from hypothesis import strategies as st

from agent import prompting
from agent.checkpointer import RedisCheckpointer
from agent.llm import Chat, Endpoint
from agent.openai_proposer import OpenAIProposer
from agent.plan_reply import understood
from agent.plans import proposals_of
from agent.prices import Price
from agent.proposer import View
from agent.records import Explanation, Proposal, Trial
from agent.request import Request, RunSettings
from agent.runs import Desk, name_feature
from agent.runs_store import RunStore
from benchmarks.policy import Policy
from benchmarks.policy_reading import Blank, blanked, read_message
from benchmarks.policy_server import server_of
from benchmarks.policy_words import book_of, listed
from sae.feature import Feature
from tests.naming_world import Workshop, world
from tests.test_prompts import read_view
from tests.views import view
from tools.ledger import Ledger
from tools.protocols import GeneratorCard

ROOT = Path(__file__).parent.parent
COLOURS = ("red", "green", "blue", "white", "black")


def text_of(state: View) -> str:
    return prompting.messages(state, sees=False)[1].text


def asked(state: View) -> dict[str, Any]:
    told = prompting.messages(state, sees=False)
    return {"model": "m", "messages": [{"role": each.role, "content": each.text} for each in told]}


def trial(prompt: str, *found: float) -> Trial:
    return Trial(
        proposal=Proposal(prompt=prompt, intent="vary", claim="fish", expects="fires"),
        images=tuple("c" * 64 for _ in found),
        seeds=tuple(range(len(found))),
        activations=found,
    )


@cache
def card() -> tuple[str, ...]:
    folder = ROOT / "sandbox" / "models" / "sd" / "card.json"
    return tuple(json.loads(folder.read_text(encoding="utf-8"))["vocabulary"])


def test_a_message_is_read_back_whole() -> None:
    state = read_view()
    found = read_message(text_of(state)).view
    assert [(each.kind, each.words, each.f1) for each in found.facts.readings] == [
        (each.kind, each.words, each.f1) for each in state.facts.readings
    ]
    assert (found.facts.tags, found.facts.vocabulary) == (state.facts.tags, state.facts.vocabulary)
    assert (found.feature, found.round, found.images_left, found.race_left, found.images_per_prompt) == (
        state.feature, state.round, state.images_left, state.race_left, state.images_per_prompt
    )  # fmt: skip
    assert (found.card.generator, found.card.vocabulary, found.card.size) == ("sd", None, 512)
    assert found.refused == state.refused
    assert [each.prompt for each in found.hints] == ["a red fish", "water"]


def test_a_closed_vocabulary_and_the_last_word_are_understood() -> None:
    found = read_message(text_of(view(must_conclude=True))).view
    assert found.card.vocabulary == view().card.vocabulary
    assert found.must_conclude


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=20), st.lists(st.floats(0, 30), min_size=1, max_size=4)),
        max_size=5,
    )
)
def test_what_was_drawn_is_read_back_whatever_was_written(told: list[tuple[str, list[float]]]) -> None:
    state = view(trials=tuple(trial(prompt, *found) for prompt, found in told))
    read = read_message(text_of(state)).view.trials
    assert sorted(each.proposal.prompt for each in read) == sorted(prompt for prompt, _ in told)
    means = sorted(sum(each for each in trial.activations if each is not None) for trial in read)
    assert means == pytest.approx(sorted(sum(found) / 10 for _, found in told), abs=0.03)


@pytest.mark.parametrize("blank", ["scores", "failures"])
def test_blanking_takes_the_evidence_and_nothing_else(blank: Blank) -> None:
    state = view(trials=(trial("a fish", 9.0, 8.0), trial("a cat", 0.0, 0.0)))
    full, less = (read_message(each).view for each in (text_of(state), blanked(text_of(state), blank)))
    assert (full.facts, full.card, full.images_left) == (less.facts, less.card, less.images_left)
    if blank == "scores":
        assert [each.proposal.prompt for each in less.trials] == ["a fish", "a cat"]
        assert all(level is None for each in less.trials for level in each.activations)
        assert "fired: -" not in blanked(text_of(state), blank)
        assert "0.85" not in blanked(text_of(state), blank).partition("Drawn, and fired")[2]
    else:
        assert [each.proposal.prompt for each in less.trials] == ["a fish"]
        assert less.refused == ()


def test_it_knows_two_thousand_words_and_what_means_the_same() -> None:
    assert len(set(listed(card()))) >= 2000
    book = book_of(card())
    assert book.read("a scarlet automobile, two toadstools and butterflies") == (
        "red", "car", "two", "mushroom", "butterfly"
    )  # fmt: skip
    assert len(book.words) > 1800


def test_it_knows_no_truth() -> None:
    probe = (
        "import sys, benchmarks.policy\n"
        "known = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(known & {'sandbox', 'evals', 'namesae', 'torch'}))"
    )
    told = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("blank", ["", "scores", "failures"])
def test_its_answers_are_plans_with_hypotheses_and_a_control(blank: Blank) -> None:
    words = GeneratorCard(generator="x", draws="d", size=64, vocabulary=card())
    for state in (view(round=0, trials=(), refused=(), card=words), view(card=words), read_view()):
        reply = Policy(blank=blank).answer(asked(state))
        said = understood(json.dumps(reply))
        assert len(said.beliefs) >= 2
        assert all(each.claim for each in proposals_of(said.plan))
        assert Policy(blank=blank).answer(asked(state)) == reply


def test_it_concludes_when_it_must() -> None:
    assert Policy().answer(asked(view(must_conclude=True)))["action"] == "conclude"


class Naming:
    """Namings of the fake world's features by a policy over HTTP."""

    def __init__(self, redis: redis_module.Redis) -> None:
        self.redis = redis

    def named(self, index: int, url: str) -> Explanation:
        Chat.forget_modes()
        endpoint = Endpoint(model=url, base_url=url, price=Price(prompt=0.0, completion=0.0), timeout_s=20.0)
        proposer = OpenAIProposer(Chat(endpoint, api_key="k"), ledger=Ledger(self.redis))
        shop = Workshop(proposer)
        request = Request(
            feature=Feature(dictionary="fake", index=index),
            models=url,
            proposer=proposer.name,
            settings=RunSettings(),
        )
        desk = Desk(RunStore(self.redis), RedisCheckpointer(self.redis))
        return name_feature(request, lambda run: shop.toolbox, desk=desk)


@pytest.fixture
def naming(redis: redis_module.Redis) -> Iterator[Naming]:
    yield Naming(redis)


@pytest.mark.parametrize("index", [0, 1, 5])
def test_it_names_what_is_planted_from_the_messages_alone(index: int, naming: Naming) -> None:
    with server_of(Policy()).serve() as url:
        told = naming.named(index, url)
    assert set((told.name or "").split(" or ")) == set(world().features[index].truth.split(" or "))
    assert told.cost.llm_calls <= 12


@pytest.mark.parametrize("blank", ["scores", "failures"])
def test_without_the_evidence_it_names_another_thing_or_needs_longer(blank: Blank, naming: Naming) -> None:
    with server_of(Policy()).serve() as url, server_of(Policy(blank=blank)).serve() as poorer:
        full, less = naming.named(1, url), naming.named(1, poorer)
    assert full.name == "fish"
    assert less.name != "fish" or less.images.search > full.images.search
