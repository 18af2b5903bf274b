"""From names to the prompts that show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.lexicon import Lexicon, lexicon_for
from evals.drawable import prompts_of
from tools.cards import load_spec
from tools.protocols import GeneratorCard

SD = Path(__file__).parent.parent / "sandbox" / "models" / "sd"


@pytest.fixture(scope="module")
def card() -> GeneratorCard:
    return load_spec(str(SD), SD).card


@pytest.fixture(scope="module")
def lexicon(card: GeneratorCard) -> Lexicon:
    return lexicon_for(card, SD / "lexicon.json")


@pytest.mark.parametrize(
    ("name", "prompts"),
    [
        ("fish", ("a fish",)),
        ("striped fish", ("a striped fish",)),
        ("fish striped", ("a striped fish",)),
        ("kitten", ("a cat",)),
        ("fish or red car", ("a fish", "a red car")),
        ("fish and bird", ("fish and bird",)),
        ("a zebra", ()),
        ("fish or zebra", ()),
    ],
)
def test_a_name_is_shown_by_its_alternatives(
    name: str, prompts: tuple[str, ...], card: GeneratorCard, lexicon: Lexicon
) -> None:
    assert prompts_of(name, lexicon, card=card) == prompts


def test_a_negation_is_shown_by_every_other_word_of_its_kind(card: GeneratorCard, lexicon: Lexicon) -> None:
    shown = prompts_of("not striped", lexicon, card=card)
    assert len(shown) == 5 and not any("striped" in prompt for prompt in shown)
    both = prompts_of("red fish not striped", lexicon, card=card)
    assert len(both) == 5 and all("red" in prompt and "fish" in prompt for prompt in both)
    assert all("striped" not in prompt for prompt in both)
