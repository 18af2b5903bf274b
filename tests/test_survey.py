"""The survey: what is worth drawing for all features at once, drawn and charged once whatever is killed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from agent.lexicon import lexicon_for
from agent.seeds import RANGES
from agent.survey import (
    FIRST_SEED,
    SeedCount,
    SurveyOutcome,
    SurveyPlan,
    SurveyPrompt,
    carry_out,
    plan_survey,
    share_of_survey,
)
from agent.survey_log import Schedule, SurveyLog
from agent.wishes import wishes_of
from tests.naming_world import FEATURES, Workshop, world
from tools.protocols import FeatureFacts, Reading, ReadingKind, SparseCode

CARD = world().draw.card
LEXICON = lexicon_for(CARD)


def reads(kind: ReadingKind, *words: str, f1: float = 0.9) -> FeatureFacts:
    told = Reading(kind=kind, words=words, f1=f1, cut=1.0)
    return FeatureFacts(density=0.1, threshold=1.0, p99=2.0, readings=(told,))


def plan(facts: Mapping[int, FeatureFacts], *, images: int, **seeds: int) -> dict[str, int]:
    found = plan_survey(facts, LEXICON, card=CARD, images=images, seeds=SeedCount(**seeds))
    assert found.images <= images
    assert len({each.prompt for each in found.prompts}) == len(found.prompts)
    return {each.prompt: each.seeds for each in found.prompts}


class InMemory:
    """A ChargeLog in a dictionary; can be killed after a note."""

    def __init__(self, *, notes: int = 10**9) -> None:
        self.kept: dict[str, int] = {}
        self.left = notes

    def charged(self) -> dict[str, int]:
        return dict(self.kept)

    def note(self, prompts: Mapping[str, int]) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.kept = {**prompts, **self.kept}


def surveyed(words: list[str], workshop: Workshop, log: InMemory, *, seeds: int = 3) -> SurveyOutcome:
    told = SurveyPlan(prompts=tuple(SurveyPrompt(prompt=word, seeds=seeds) for word in words))
    return carry_out(told, workshop.toolbox, seed=0, log=log)


def test_a_word_that_many_want_comes_before_one_that_few_want() -> None:
    facts = {at: reads("one", "fish") for at in range(5)} | {5: reads("one", "red")}
    (first, *_) = plan(facts, images=2)
    assert first == LEXICON.compose(["fish"])
    assert next(iter(plan(facts, images=4))) == first


def test_what_a_claim_excludes_is_wanted_too() -> None:
    found = plan({at: reads("one", "red") for at in range(4)}, images=12)
    colours = set(LEXICON.siblings("red"))
    shown = {word for prompt in found for word in LEXICON.read(prompt)}
    assert "red" in shown and colours & shown


def test_a_conjunction_is_wanted_whole_and_changed_in_each_word() -> None:
    found = plan({at: reads("and", "striped", "fish") for at in range(4)}, images=24)
    shown = [frozenset(LEXICON.read(prompt)) for prompt in found]
    assert frozenset(("striped", "fish")) in shown
    assert any("fish" in each and "striped" not in each for each in shown)
    assert any("striped" in each and "fish" not in each for each in shown)


@pytest.mark.parametrize("images", [0, 1, 2, 3, 7, 40, 1000])
def test_the_budget_and_the_seeds_a_prompt_hold(images: int) -> None:
    facts = {at: reads("one", word) for at, word in enumerate(("fish", "red", "water", "boat", "striped"))}
    found = plan(facts, images=images, least=2, most=3)
    assert all(2 <= seeds <= 3 for seeds in found.values())
    assert bool(found) == (images >= 2)


def test_it_stops_when_the_gain_is_gone() -> None:
    facts = {0: reads("one", "fish")}
    assert plan(facts, images=10_000) == plan(facts, images=1_000)
    weak = {0: reads("one", "fish", f1=0.05)}
    assert plan(weak, images=1_000) == {}


def test_dead_and_dense_features_wish_for_nothing() -> None:
    off = {
        0: FeatureFacts(density=0.0, threshold=0.0, p99=0.0),
        1: FeatureFacts(density=1.0, threshold=1, p99=2),
    }
    assert plan(off, images=100) == {}
    assert wishes_of(off, LEXICON, CARD) == {0: (), 1: ()}


def test_where_nothing_suggests_anything_families_come_first() -> None:
    silent = {at: FeatureFacts(density=0.1, threshold=1.0, p99=2.0) for at in range(8)}
    found = list(plan(silent, images=8))
    families = [word for word in LEXICON.words if LEXICON.members(word)]
    assert families and LEXICON.read(found[0])[0] in families
    assert len(found) > len(families)


def test_tags_and_decoder_words_suggest_where_nothing_was_read() -> None:
    tagged = FeatureFacts(density=0.1, threshold=1.0, p99=2.0, tags=(("boat", 3.0), ("red", -1.0)))
    found = plan(dict.fromkeys(range(4), tagged), images=4)
    assert LEXICON.compose(["boat"]) in found


def test_every_prompt_of_a_plan_can_be_drawn_and_the_plan_is_the_same_again() -> None:
    exemplars = world().exemplars
    facts = {index: exemplars.facts(index) for index in FEATURES}
    card = CARD.model_copy(
        update={"vocabulary": tuple(each for each in CARD.vocabulary or () if each != "fish")}
    )
    once = plan_survey(facts, LEXICON, card=card, images=60)
    assert once == plan_survey(facts, LEXICON, card=card, images=60)
    assert once.prompts and not any("fish" in each.prompt for each in once.prompts)


def test_images_are_banked_with_seeds_of_the_search_that_no_search_has() -> None:
    workshop, log = Workshop(), InMemory()
    told = surveyed(["fish", "red"], workshop, log, seeds=3)
    rows = list(workshop.bank.rows.values())
    assert (told.images, told.charged, len(rows)) == (6, 6, 6)
    assert len({row.seed for row in rows}) == 3
    assert all(RANGES["search"].low <= row.seed < RANGES["search"].high for row in rows)
    assert FIRST_SEED > 10_000


def test_what_the_bank_holds_is_not_charged_again() -> None:
    workshop = Workshop()
    surveyed(["fish", "red"], workshop, InMemory())
    other = surveyed(["red", "boat", "water"], workshop, InMemory())
    assert (other.images, other.charged) == (9, 6)


def test_killed_anywhere_it_charges_and_draws_everything_once() -> None:
    words = [
        "fish",
        "red",
        "boat",
        "water",
        "striped",
        "blue",
        "forest",
        "ball",
        "tree",
        "yellow",
        "sky",
        "cat",
    ]
    workshop, log = Workshop(), InMemory(notes=1)
    with pytest.raises(KeyboardInterrupt):
        surveyed(words, workshop, log)
    log.left = 10**9
    told = surveyed(words, workshop, log)
    assert told.charged == told.images == 36
    assert max(workshop.draw.counts.values()) == 1
    assert surveyed(words, workshop, log) == told


def test_killed_between_note_and_bank_nothing_is_lost() -> None:
    workshop, log = Workshop(), InMemory()

    class Dying:
        dictionary, fingerprint = workshop.toolbox.score.dictionary, workshop.toolbox.score.fingerprint

        def __call__(self, images: Any) -> list[SparseCode]:
            raise KeyboardInterrupt

    told = SurveyPlan(prompts=(SurveyPrompt(prompt="fish", seeds=3),))
    with pytest.raises(KeyboardInterrupt):
        carry_out(told, replace(workshop.toolbox, score=Dying()), seed=0, log=log)
    assert workshop.bank.rows == {} and log.charged() == {"fish": 3}
    assert carry_out(told, workshop.toolbox, seed=0, log=log).charged == 3
    assert len(workshop.bank.rows) == 3


def test_a_prompt_that_is_refused_costs_nothing_and_spoils_no_other() -> None:
    workshop = Workshop()
    told = surveyed(["fish", "submarine"], workshop, InMemory())
    assert (told.charged, told.refused, len(workshop.bank.rows)) == (3, 1, 3)


@pytest.mark.parametrize(("charged", "features"), [(0, 3), (7, 3), (9, 3), (2, 5)])
def test_shares_of_a_survey_add_up(charged: int, features: int) -> None:
    shares = [share_of_survey(charged, place, features=features) for place in range(features)]
    assert sum(shares) == charged and max(shares) - min(shares) <= 1


def test_the_first_schedule_and_the_first_charge_stay(redis: Any) -> None:
    log = SurveyLog(redis, "b:1")
    first = Schedule(plan=SurveyPlan(prompts=(SurveyPrompt(prompt="a: fish", seeds=2),)), order=(2, 1))
    assert log.schedule() is None and not log.done
    assert log.keep(first) == first == log.keep(Schedule(plan=SurveyPlan(), order=(1, 2)))
    log.note({"a: fish": 2})
    log.note({"a: fish": 0, "red": 1})
    assert log.charged() == {"a: fish": 2, "red": 1}
    log.took(1.5)
    log.took(2.0)
    log.finish()
    assert (log.seconds, log.done) == (3.5, True)
    assert SurveyLog(redis, "b").charged() == {}
