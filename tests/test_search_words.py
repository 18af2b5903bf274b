"""The words that are searched over: the generator's and English ones, and what that may not change."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agent.lexical import LexicalProposer
from agent.lexicon import Word, WordBook, english, lexicon_for, widened
from agent.plans import ConcludePlan, proposals_of
from agent.proposer import View
from agent.records import Trial
from agent.seeds import seeds_of
from evals.conditions.line import Line
from evals.conditions.mils import Mils
from evals.lexical_suggester import LexicalSuggester
from evals.suggester import Goal, Reward, Scored, Wish
from evals.wordlist import names_of
from sae.feature import Feature
from tests.eval_world import FakeSubject, case_of, words_of_the_world
from tests.naming_world import world
from tools.cards import load_spec, unknown_words
from tools.protocols import FeatureFacts

SD = Path(__file__).parent.parent / "sandbox" / "models" / "sd"
CARD = load_spec("sandbox-sd", SD).card
OWN = lexicon_for(CARD, SD / "lexicon.json")
JOINED = widened(OWN, CARD)


def test_the_search_has_over_a_thousand_words_most_of_which_the_generator_does_not_know() -> None:
    unknown = [word for word in JOINED.words if unknown_words(CARD, word)]
    assert len(JOINED.words) > 1_000
    assert len(unknown) > 0.9 * len(JOINED.words)
    assert len(set(JOINED.words)) == len(JOINED.words)
    assert set(JOINED.words) - set(unknown) == set(OWN.words)


def test_a_synonym_of_an_own_word_is_no_word_of_its_own() -> None:
    for synonym, own in (("kitten", "cat"), ("ship", "boat"), ("scarlet", "red"), ("large", "big")):
        assert synonym in english().words
        assert synonym not in JOINED.words
        assert JOINED.read(synonym) == OWN.read(synonym) == (own,)


def test_own_words_keep_their_kind_what_lies_below_them_and_their_spelling() -> None:
    for word in OWN.words:
        assert JOINED.members(word) == OWN.members(word)
        assert JOINED.slot(word) == OWN.slot(word)
        assert [each for each in JOINED.siblings(word) if each in OWN.words] == list(OWN.siblings(word))
        assert JOINED.compose([word]) == OWN.compose([word])
    assert set(OWN.words) < set(JOINED.words)
    assert JOINED.slot("shark") == "object" and not JOINED.is_kind_of("shark", "fish")
    assert JOINED.is_kind_of("husky", "dog") and "husky" in JOINED.members("dog")


def test_every_name_that_can_be_drawn_is_read_as_before() -> None:
    for name in names_of(OWN):
        assert JOINED.read(name) == OWN.read(name)


def test_joining_reads_plurals_and_whole_entries() -> None:
    own = WordBook({"leaf": Word(plural="leaves"), "dot": Word(), "polka": Word(), "pane": Word()})
    other = WordBook(
        {
            "leave": Word(),
            "polka dot": Word(),
            "window pane": Word(synonyms=("glazing",)),
            "foliage": Word(synonyms=("leaf",)),
            "twig": Word(family="leaf"),
            "bud": Word(family="twig"),
        }
    )
    joined = own.joined_with(other)
    # 'leave' would read the plural of 'leaf' as its own, and 'foliage' is said to be a leaf.
    assert set(joined.words) == {"leaf", "dot", "polka", "pane", "window pane", "twig", "bud"}
    assert joined.read("leaves") == ("leaf",)
    assert joined.read("a polka dot window pane") == ("polka", "dot", "window pane")
    assert joined.members("leaf") == () and joined.members("twig") == ("bud",)
    assert own.joined_with(own) is own


def histories(count: int) -> list[tuple[Scored, ...]]:
    chance, names = random.Random(7), names_of(OWN)
    return [
        tuple(Scored(name, chance.random()) for name in chance.sample(names, 1 + at % 11))
        for at in range(count)
    ]


@pytest.mark.parametrize("goal", ["next", "more", "summary"])
@pytest.mark.parametrize("reward", ["auc", "mean"])
def test_line_and_mils_suggest_the_same_with_and_without_the_english_words(
    goal: Goal, reward: Reward
) -> None:
    alone, joined = LexicalSuggester(OWN, CARD), LexicalSuggester(JOINED, CARD)
    for at, history in enumerate(histories(12)):
        tried = tuple(each.text for each in history)
        wish = Wish(history, tried, 50 if goal == "more" else 1, goal, reward, 1.0, 5, seed=at)
        assert joined.suggest(wish) == alone.suggest(wish)


@pytest.mark.parametrize("index", [0, 4])
def test_line_and_mils_search_the_same_with_and_without_them(index: int) -> None:
    subject = FakeSubject(search_lexicon=widened(words_of_the_world(), world().draw.card))
    for condition in (Line(reward="auc"), Mils(start="classes", steps=3, proposals=7)):
        plain = condition.answer(case_of(FakeSubject(), index))
        wide = condition.answer(case_of(subject, index))
        assert (wide.name, wide.steps, wide.images) == (plain.name, plain.steps, plain.images)


def test_the_lexical_search_asks_the_same_with_and_without_them() -> None:
    """The card says what can be drawn: a proposer that is told it proposes nothing else."""
    facts = FeatureFacts(density=0.1, threshold=1.0, p99=2.0, tags=(("striped", 2.0), ("fish", 1.0)))
    view = View(
        feature=Feature(dictionary="d", index=0), facts=facts, card=CARD, images_left=64, race_left=100
    )
    alone, joined = LexicalProposer(OWN), LexicalProposer(JOINED)
    assert alone.fingerprint != joined.fingerprint
    trials: tuple[Trial, ...] = ()
    for around in range(8):
        seen = view.model_copy(update={"trials": trials, "images_left": 64 - 2 * len(trials)})
        turn = alone.plan(seen)
        assert joined.plan(seen) == turn
        if isinstance(turn.plan, ConcludePlan):
            break
        seeds = seeds_of(0, "search", start=2 * around, count=2)
        trials += tuple(
            Trial(
                proposal=each,
                images=("i", "j"),
                seeds=seeds,
                activations=(2.0 * ("striped" in each.prompt), 2.0 * ("striped" in each.prompt)),
            )
            for each in proposals_of(turn.plan)
        )
    assert isinstance(turn.plan, ConcludePlan) and turn.plan.candidates[0].name == "striped"
