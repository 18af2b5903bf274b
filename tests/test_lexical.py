"""The lexical search: what it knows of words, what it believes, and what it asks."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from agent.belief import EXCLUDED, HALF, OPEN, SHOWN, Asked, Beliefs, Claim, Rates, settles
from agent.lexical import LexicalProposer
from agent.lexicon import WordBook, english, lexicon_for, load_lexicon
from agent.plans import ConcludePlan, Plan, proposals_of
from agent.priors import LexicalSettings, claims_of, promising, suggested
from agent.proposer import Hint, View
from agent.records import Trial
from agent.seeds import seeds_of
from sae.feature import Feature
from tests.naming_world import RED_BOAT, memo, world
from tools.cards import unknown_words
from tools.errors import IntegrityError
from tools.protocols import DrawRequest, FeatureFacts, GeneratorCard

OPEN_CARD = GeneratorCard(generator="open", draws="anything")
FILE = {
    "words": {
        "fish": {"category": "object", "family": "animal", "plural": "fish"},
        "mouse": {"category": "object", "family": "animal", "plural": "mice", "synonyms": ["rodent"]},
        "animal": {"category": "family", "synonyms": ["creature"]},
        "kitten": {"category": "object", "canonical": "cat"},
        "cat": {"category": "object", "family": "animal"},
        "orange": {"category": "colour", "canonical": "orange"},
        "striped": {"category": "texture"},
        "two": {"category": "count"},
        "sky": {"category": "background", "preposition": "in"},
        "water": {"category": "background"},
        "polka dot": {"category": "texture"},
    },
    "templates": ["{}"],
    "compose": [["count", "texture", "colour", "object"], ["on", "background"]],
    "generic": "thing",
}
BOOK = lexicon_for(world().draw.card)


@pytest.fixture
def book(tmp_path: Path) -> WordBook:
    path = tmp_path / "lexicon.json"
    path.write_text(json.dumps(FILE))
    return load_lexicon(path)


@pytest.mark.parametrize(
    ("words", "name", "prompt"),
    [
        (["fish"], "fish", "a fish"),
        (["fish", "striped"], "striped fish", "a striped fish"),
        (["orange", "fish"], "orange fish", "an orange fish"),
        (["water", "fish"], "fish on water", "a fish on water"),
        (["sky", "striped", "mouse"], "striped mouse in sky", "a striped mouse in sky"),
        (["striped"], "striped", "striped"),
        (["orange", "striped"], "striped orange", "a striped orange thing"),
        (["water", "orange"], "orange on water", "an orange thing on water"),
        (["two", "mouse"], "two mice", "two mice"),
        (["two", "striped"], "two striped", "two striped things"),
        (["water"], "water", "water"),
        (["fish", "zebra-like"], "fish zebra-like", "a fish zebra-like"),
    ],
)
def test_words_are_joined_in_the_order_of_their_kinds(
    book: WordBook, words: list[str], name: str, prompt: str
) -> None:
    assert book.phrase(words) == name
    assert book.compose(words) == prompt


def test_a_text_is_read_back_to_canonical_words(book: WordBook) -> None:
    assert book.read("Two striped MICE, in sky") == ("two", "striped", "mouse", "sky")
    assert book.read("a kitten, a creature and a rodent") == ("cat", "animal", "mouse")
    assert book.read("a polka dot fish fish") == ("polka dot", "fish")
    assert book.read("nothing known") == ()


def test_families_hold_members_and_siblings_exclude(book: WordBook) -> None:
    assert book.slot("animal") == book.slot("fish") == "object"
    assert set(book.members("animal")) == {"fish", "mouse", "cat"}
    assert book.is_kind_of("fish", "animal")
    assert not book.is_kind_of("animal", "fish")
    assert set(book.siblings("fish")) == {"mouse", "cat"}
    assert book.siblings("nowhere") == ()


def test_a_broken_lexicon_is_told_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.json"
    path.write_text('{"words": 3}')
    with pytest.raises(IntegrityError, match="is not a lexicon; restore it"):
        load_lexicon(path)


def test_the_built_in_words_are_many_distinct_and_in_order() -> None:
    words = english().words
    assert len(words) > 1800
    assert len(set(words)) == len(words)
    assert english().slot("animal") == "object"
    assert english().is_kind_of("husky", "animal")
    assert english().compose(["forest", "dog", "red"]) == "a red dog in forest"


def test_a_closed_vocabulary_keeps_its_own_words_and_no_others() -> None:
    card = world().draw.card
    book = lexicon_for(card)
    assert set(book.words) == set(card.vocabulary or ())
    strange = card.model_copy(update={"vocabulary": ("fish", "glorb", "a", "on")})
    assert set(lexicon_for(strange).words) == {"fish", "glorb"}
    assert lexicon_for(strange).slot("glorb") == ""


@pytest.mark.parametrize(
    ("prompt", "word", "said"),
    [
        ("fish", "fish", SHOWN),
        ("fish", "animal", SHOWN),
        ("animal", "fish", OPEN),
        ("cat", "fish", EXCLUDED),
        ("striped", "fish", OPEN),
        ("cat striped", "striped", SHOWN),
        ("water", "sky", EXCLUDED),
    ],
)
def test_a_prompt_settles_a_word(book: WordBook, prompt: str, word: str, said: int) -> None:
    assert settles(book, frozenset(prompt.split()), word=word) == said


def test_claims_follow_kleene_logic(book: WordBook) -> None:
    claims = [
        Claim("and", ("striped", "fish")),
        Claim("or", ("striped", "fish")),
        Claim("not", ("fish",)),
        Claim("one", ("animal",)),
    ]
    beliefs = Beliefs(book, dict.fromkeys(claims, 0.0), asked=(), rates=Rates())
    prompts = [frozenset(text.split()) for text in ("striped fish", "fish", "cat striped", "cat", "water")]
    assert beliefs.logic(prompts).tolist() == [
        [SHOWN, SHOWN, EXCLUDED, SHOWN],
        [HALF, SHOWN, EXCLUDED, SHOWN],
        [EXCLUDED, SHOWN, SHOWN, SHOWN],
        [EXCLUDED, OPEN, SHOWN, SHOWN],
        [OPEN, OPEN, OPEN, OPEN],
    ]


def test_evidence_moves_belief_to_the_conjunction(book: WordBook) -> None:
    claims = dict.fromkeys(
        [Claim("one", ("fish",)), Claim("one", ("striped",)), Claim("and", ("striped", "fish"))], 0.0
    )
    asked = [
        Asked(frozenset({"fish", "striped"}), images=4, fired=3.8),
        Asked(frozenset({"fish"}), images=4, fired=1.0),
        Asked(frozenset({"striped", "cat"}), images=4, fired=0.1),
    ]
    beliefs = Beliefs(book, claims, asked=asked, rates=Rates())
    assert beliefs.ranked()[0][0] == Claim("and", ("striped", "fish"))
    assert np.isclose(beliefs.weights.sum(), 1.0)


def test_a_word_that_fires_half_the_time_with_its_company_is_a_conjunction(book: WordBook) -> None:
    """Where the generator adds the company by itself half the time, the lone word fires half the time."""
    claims = dict.fromkeys(
        [Claim("one", ("fish",)), Claim("one", ("striped",)), Claim("and", ("striped", "fish"))], 0.0
    )
    asked = [
        Asked(frozenset({"fish"}), images=6, fired=3.0),
        Asked(frozenset({"striped"}), images=4, fired=1.0),
        Asked(frozenset({"water"}), images=10, fired=0.1),
        Asked(frozenset({"fish", "striped"}), images=4, fired=4.0),
    ]
    assert Beliefs(book, claims, asked=asked, rates=Rates()).ranked()[0][0].kind == "and"


def test_the_question_chosen_is_the_one_the_claims_disagree_about(book: WordBook) -> None:
    claims = dict.fromkeys([Claim("one", ("fish",)), Claim("one", ("striped",))], 0.0)
    beliefs = Beliefs(book, claims, asked=(), rates=Rates())
    prompts = [frozenset(text.split()) for text in ("striped fish", "water", "striped cat")]
    assert beliefs.choose(prompts, count=1) == [2]
    assert sorted(beliefs.choose(prompts, count=9)) == [0, 1, 2]


def test_the_log_beta_function_is_exact() -> None:
    from agent.belief import betaln

    assert float(betaln(2.0, 3.0)) == pytest.approx(np.log(1 / 12))


def view(index: int, trials: tuple[Trial, ...] = (), **changes: object) -> View:
    fake = world()
    base = View(
        feature=Feature(dictionary="fake", index=index),
        facts=fake.exemplars.facts(index),
        trials=trials,
        card=fake.draw.card,
        images_left=64 - 2 * len(trials),
        race_left=100 - 2 * len(trials),
    )
    return base.model_copy(update=changes)


def searched(index: int, settings: LexicalSettings | None = None) -> tuple[ConcludePlan, tuple[Trial, ...]]:
    """The lexical search alone, over the fake world."""
    fake, proposer = world(), LexicalProposer(lexicon_for(world().draw.card), settings)
    trials: tuple[Trial, ...] = ()
    for around in itertools.count():
        plan: Plan = proposer.plan(view(index, trials, must_conclude=2 * len(trials) > 62)).plan
        if isinstance(plan, ConcludePlan):
            return plan, trials
        seeds = seeds_of(0, "search", start=2 * around, count=2)
        for proposal in proposals_of(plan):
            requests = [DrawRequest(prompt=f"a picture of {proposal.prompt}", seed=seed) for seed in seeds]
            images = [drawn.image or "" for drawn in fake.draw(requests)]
            found = tuple(code.activation(index) for code in memo()(images))
            trials += (Trial(proposal=proposal, images=tuple(images), seeds=seeds, activations=found),)
    raise AssertionError


@pytest.mark.parametrize("index", [0, 1, 2, 3, 4, 5, 6, 7, 12, RED_BOAT])
def test_the_search_finds_every_kind_of_planted_feature_within_its_images(index: int) -> None:
    plan, trials = searched(index)
    truth = world().features[index].truth
    best = plan.candidates[0]
    assert set(best.name.split()) == set(truth.split())
    assert sum(len(trial.images) for trial in trials) <= 64
    if best.kind in ("and", "or"):
        assert set(best.parts) == set(world().features[index].words)


def test_the_search_asks_only_what_can_be_drawn_and_nothing_twice() -> None:
    _, trials = searched(4)
    prompts = [trial.proposal.prompt for trial in trials]
    assert len(set(prompts)) == len(prompts)
    assert not any(unknown_words(world().draw.card, prompt) for prompt in prompts)
    assert {"contradict", "vary"} <= {trial.proposal.intent for trial in trials}


def test_wider_names_that_evidence_refuted_are_told_and_do_not_race() -> None:
    plan, trials = searched(4)
    racing = {candidate.name: candidate for candidate in plan.candidates}
    told = {each.claim: each for each in LexicalProposer(BOOK).plan(view(4, trials)).hypotheses}
    assert told["striped fish"].state == "supported" and told["striped fish"].rung == "best"
    for wider in ("striped", "fish"):
        assert (told[wider].state, told[wider].rung) == ("refuted", "broader")
        assert wider not in racing
    fish = told["fish"].fires
    assert fish.images > 0 and fish.earned < fish.images


def test_before_any_evidence_the_ladder_holds_wider_and_narrower_names_with_predictions() -> None:
    plan = LexicalProposer(BOOK).plan(view(4, must_conclude=True)).plan
    assert isinstance(plan, ConcludePlan) and len(plan.candidates) > 1
    for candidate in plan.candidates:
        assert candidate.fires or candidate.rests
        assert not set(candidate.fires) & set(candidate.rests)
    assert len({candidate.level for candidate in plan.candidates}) > 1


def test_the_same_view_gets_the_same_plan_and_a_must_conclude_concludes() -> None:
    proposer = LexicalProposer(lexicon_for(world().draw.card))
    assert proposer.plan(view(1)) == proposer.plan(view(1))
    assert isinstance(proposer.plan(view(1, must_conclude=True)).plan, ConcludePlan)
    assert proposer.plan(view(1)).usage.calls == 0


def test_the_fingerprint_covers_settings_and_words() -> None:
    book = lexicon_for(world().draw.card)
    prints = {
        LexicalProposer(book).fingerprint,
        LexicalProposer(book, LexicalSettings(sure=0.5)).fingerprint,
        LexicalProposer(english()).fingerprint,
    }
    assert len(prints) == 3


def test_tags_vocabulary_and_the_bank_suggest_words_and_families() -> None:
    facts = FeatureFacts(
        density=0.1,
        threshold=1.0,
        p99=2.0,
        tags=(("fish", 2.0), ("cat", 1.0)),
        vocabulary=(("red", 0.3), ("blue", -0.1)),
    )
    seen = view(0, facts=facts, hints=(Hint(prompt="a striped boat", activation=2.0, images=2),))
    promise = suggested(seen, lexicon_for(seen.card), universe=9)
    assert promise["fish"] > promise["cat"] > promise["horse"] == 0.0
    assert promise["red"] == pytest.approx(0.8)
    assert promise["blue"] == 0.0
    assert promise["boat"] == promise["striped"] > 0.5
    assert promise["animal"] == promise["cat"]
    assert set(promise) == set(lexicon_for(seen.card).words)


def test_an_open_vocabulary_is_cut_to_a_universe_with_families_first() -> None:
    seen = view(0, card=OPEN_CARD, facts=FeatureFacts(density=0.1, threshold=1.0, p99=2.0))
    promise = suggested(seen, english(), universe=30)
    assert len(promise) == 30
    assert sum(bool(english().members(word)) for word in promise) > 20


def test_claims_join_only_words_that_can_stand_together() -> None:
    book = lexicon_for(world().draw.card)
    promise = suggested(view(4), book, universe=96)
    best = promising(book, promise, asked=(), settings=LexicalSettings())
    claims = claims_of(book, promise, best=best, settings=LexicalSettings())
    ands = [claim.words for claim in claims if claim.kind == "and"]
    assert ands
    assert all(book.slot(first) != book.slot(second) for first, second in ands)
    assert not any(claim.kind == "or" and set(claim.words) == {"fish", "animal"} for claim in claims)
    assert Claim("not", ("blue",)) in claims
    assert Claim("not", ("animal",)) not in claims


def test_without_a_drawable_word_it_concludes_with_no_name() -> None:
    empty = OPEN_CARD.model_copy(update={"vocabulary": ("a", "on")})
    plan = LexicalProposer(lexicon_for(empty)).plan(view(0, card=empty)).plan
    assert isinstance(plan, ConcludePlan)
    assert plan.candidates == ()
