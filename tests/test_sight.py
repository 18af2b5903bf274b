"""A look at what was drawn: which texts the exemplars show, and whether the generator shows them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from agent.budget import Refusal, Spent
from agent.plans import Candidate
from agent.recording import explain
from agent.records import Proposal, Trial
from agent.request import RunSettings
from agent.sight import KEPT, Asked, asked_of, look, sightings
from agent.state import SCHEMA, Judgement, NamingState, RaceRecord, Shot
from sae.feature import Feature
from tests.naming_world import Workshop, world
from tools.fakes import FakeWitness
from tools.protocols import CosyScore, DrawRequest, Floats, GeneratorCard, Interval

FISH, FLOWER, NOISE = 1, 10, 13
"""Features of the fake world; its generator draws 'flower' as nothing."""
CARD = GeneratorCard(generator="g", draws="", vocabulary=("fish", "flower", "red", "thing"))


def drawn(prompt: str, count: int) -> Trial:
    requests = [DrawRequest(prompt=prompt, seed=seed) for seed in range(count)]
    images = tuple(each.image for each in world().draw(requests))
    return Trial(
        proposal=Proposal(prompt=prompt, intent="explore"),
        images=images,
        seeds=tuple(range(count)),
        activations=tuple(0.0 for _ in images),
    )


def state(index: int, *prompts: str, count: int = 8) -> NamingState:
    return {
        "schema": SCHEMA,
        "run": "run",
        "feature": Feature(dictionary="fake", index=index),
        "settings": RunSettings(),
        "facts": world().exemplars.facts(index),
        "trials": tuple(drawn(prompt, count) for prompt in prompts),
        "spent": Spent(search=count * len(prompts)),
    }


def verdict(of: NamingState, shop: Workshop) -> str:
    seen = look(of, shop.toolbox)
    return explain(of, proposer=shop.toolbox.proposer, now=0.0, sightings=seen).verdict


def test_a_word_that_is_drawn_as_nothing_is_seen_in_the_exemplars_alone() -> None:
    seen = look(state(FLOWER, "a flower", "a red fish"), Workshop().toolbox)
    first = seen[0]
    assert first.text == "flower" and first.exemplars.ci.low > 0.8
    assert first.drawn is not None and first.drawn.n == 8 and first.drawn.ci.high < 0.65
    fish = next(each for each in seen if each.text == "fish")
    assert fish.drawn is not None and fish.drawn.ci.low > 0.7
    assert [each.exemplars.auroc for each in seen] == sorted(
        (each.exemplars.auroc for each in seen), reverse=True
    )


def test_the_verdict_follows_what_was_seen_and_is_recorded_with_it() -> None:
    shop = Workshop()
    assert verdict(state(FLOWER, "flower", "red"), shop) == "unrenderable"
    assert verdict(state(FLOWER, "fish", "red"), shop) == "unexplained", "it was never asked for"
    assert verdict(state(FISH, "flower", "red", "fish"), shop) == "unexplained", "what it shows is drawn"
    assert verdict(state(NOISE, "flower", "fish"), shop) == "unexplained", "the exemplars share nothing"
    told = state(FLOWER, "flower")
    seen = look(told, shop.toolbox)
    kept = explain(told, proposer=shop.toolbox.proposer, now=0.0, sightings=seen).evidence
    assert kept is not None and kept.sightings == seen != ()


def test_one_image_is_too_little_to_say_so() -> None:
    assert verdict(state(FLOWER, "flower", count=1), Workshop()) == "unexplained"


def test_without_a_witness_nobody_looks_and_nothing_is_unrenderable() -> None:
    shop = Workshop()
    blind = dataclasses.replace(shop.toolbox, witness=None)
    told = state(FLOWER, "flower")
    assert look(told, blind) == ()
    assert explain(told, proposer=blind.proposer, now=0.0).verdict == "unexplained"


class Counting:
    """A witness that remembers what it was asked."""

    fingerprint = "counting"

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self._sees = FakeWitness(world().store)

    def __call__(self, images: Sequence[str], texts: Sequence[str]) -> Floats:
        self.asked.append((tuple(images), tuple(texts)))
        return self._sees(images, texts)


@pytest.mark.parametrize(("auroc", "looks"), [(0.95, 0), (0.7, 3), (0.5, 3)])
def test_nobody_looks_where_there_is_a_sure_name(auroc: float, looks: int) -> None:
    witness = Counting()
    tools = dataclasses.replace(Workshop().toolbox, witness=witness)
    sure = Interval(low=auroc - 0.02, high=min(1.0, auroc + 0.02))
    sealed = CosyScore(
        auroc=auroc,
        auroc_ci=sure,
        ceiling=None,
        mad=None,
        max_mad=None,
        activation_rate=0.9,
        activation_rate_ci=Interval(low=0.8, high=0.95),
        control_rate=0.1,
        control_rate_ci=Interval(low=0.05, high=0.15),
        n_generated=2,
        n_control=1000,
    )
    images = [image for image in drawn("a fish", 2).images if image is not None]
    shots = tuple(Shot(prompt="a fish", seed=at, image=image) for at, image in enumerate(images))
    told: NamingState = {
        **state(FISH, "red"),
        "raced": RaceRecord(winner=Candidate(name="fish", prompts=("a fish",))),
        "judgement": Judgement(shots=shots, sealed=sealed),
    }
    look(told, tools)
    assert len(witness.asked) == looks
    if looks:
        assert set(images) <= set(witness.asked[0][0]), "the judge's images are looked at as well"


def test_a_feature_that_says_nothing_is_not_looked_at() -> None:
    witness = Counting()
    tools = dataclasses.replace(Workshop().toolbox, witness=witness)
    for dead_or_dense in (8, 9):
        assert look(state(dead_or_dense), tools) == ()
    assert witness.asked == []


def test_a_word_has_the_images_of_all_prompts_that_hold_it() -> None:
    told: NamingState = {
        "trials": tuple(
            Trial(
                proposal=Proposal(prompt=prompt, intent="explore"),
                images=images,
                seeds=tuple(range(len(images))),
                activations=tuple(None for _ in images),
            )
            for prompt, images in (
                ("a red fish", ("1", None)),
                ("fish", ("2", "3")),
                ("a red thing", ("4",)),
                ("", ("5",)),
            )
        ),
        "raced": RaceRecord(
            shots=(
                Shot(prompt="fish", seed=1, image="6"),
                Shot(prompt="zebra", seed=1, image=None, charged=False),
            )
        ),
        "refused": (
            Refusal(prompt="a red zebra", why="unknown"),
            Refusal(prompt="fish", why="it was drawn 3 times already"),
        ),
    }
    found = {each.text: each for each in asked_of(told, CARD)}
    assert found == {
        "red": Asked("red", ("1", "4")),
        "fish": Asked("fish", ("1", "2", "3", "6")),
        "a red fish": Asked("a red fish", ("1",)),
        "zebra": Asked("zebra", refused=True),
    }


def test_texts_that_the_witness_cannot_tell_apart_are_one() -> None:
    def sees(images: Sequence[str], texts: Sequence[str]) -> Floats:
        shown = {"e": 1.0, "d": 0.0, "c": 0.0}
        return np.array(
            [[shown[image[0]] * ("mill" in text) for text in texts] for image in images], np.float32
        )

    class Sees:
        fingerprint = "sees"

        def __call__(self, images: Sequence[str], texts: Sequence[str]) -> Floats:
            return sees(images, texts).reshape(len(images), len(texts))

    asked = (Asked("mill", ("d1", "d2")), Asked("mills", ("d2", "d3")), Asked("cat", ("d4",)))
    exemplars, control = [f"e{at}" for at in range(9)], [f"c{at}" for at in range(40)]
    found = sightings(Sees(), asked, exemplars=exemplars, control=control)
    assert [(each.text, each.drawn.n if each.drawn else None) for each in found] == [("mill", 3), ("cat", 1)]
    many = tuple(Asked(f"word {at}", refused=True) for at in range(3)) + asked
    assert len(sightings(Sees(), many, exemplars=exemplars, control=control)) == 2 <= KEPT
