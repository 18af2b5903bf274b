"""Names that several features share, and what neighbours do on a name's own images."""

from __future__ import annotations

import pytest

from agent.collisions import NamedFeature, collisions, plain_name, shared_names
from agent.neighbours import neighbour_firing, own_images
from agent.plans import Candidate
from agent.state import RaceRecord, Shot
from tests.naming_world import Workshop
from tools.protocols import DrawRequest

STRIPED, FISH, DEAD, STRIPED_FISH = 0, 1, 8, 4


def images(workshop: Workshop, prompt: str, *, seeds: range = range(3)) -> tuple[str, ...]:
    drawn = workshop.toolbox.draw([DrawRequest(prompt=prompt, seed=seed) for seed in seeds])
    return tuple(each.image for each in drawn if each.image is not None)


def test_names_are_the_same_but_for_case_and_spaces() -> None:
    assert plain_name("  Striped\tFish ") == "striped fish"
    named = [(1, "Fish"), (2, "fish "), (3, "boat"), (3, "Boat")]
    assert shared_names(named) == {"fish": (1, 2)}


def test_features_of_one_name_are_held_against_each_others_images() -> None:
    workshop = Workshop()
    named = [
        NamedFeature(STRIPED_FISH, "fish", images(workshop, "striped fish"), 3.0),
        NamedFeature(FISH, "Fish", images(workshop, "fish"), 3.0),
        NamedFeature(STRIPED, "striped", images(workshop, "striped"), 3.0),
        NamedFeature(12, "boat", (), 3.0),
        NamedFeature(3, "boat", images(workshop, "water"), 3.0),
    ]
    told = collisions(named, score=workshop.toolbox.score, cosine=lambda first, second: 0.25)
    assert [(each.name, each.features) for each in told] == [("boat", (3, 12)), ("fish", (1, 4))]
    (fish,) = told[1].pairs
    assert (fish.first, fish.second, fish.cosine) == (FISH, STRIPED_FISH, 0.25)
    assert fish.first_on_second == 1.0 and fish.second_on_first == pytest.approx(0.0, abs=0.4)
    (boat,) = told[0].pairs
    assert boat.first_on_second is None and boat.second_on_first is not None


def test_neighbours_are_looked_at_on_the_winners_own_images_alone() -> None:
    workshop = Workshop()
    mine, theirs = images(workshop, "striped fish"), images(workshop, "boat")
    shots = [Shot(prompt="striped fish", seed=at, image=image) for at, image in enumerate(mine)]
    shots += [Shot(prompt="boat", seed=at, image=image) for at, image in enumerate(theirs)]
    shots.append(Shot(prompt="striped fish", seed=9, image=None))
    winner = Candidate(name="striped fish", prompts=("striped fish",))
    race = RaceRecord(shots=tuple(shots), winner=winner)
    assert own_images(race) == mine and own_images(RaceRecord(shots=tuple(shots))) == ()
    facts = workshop.toolbox.exemplars.facts(STRIPED_FISH)
    facts = facts.model_copy(update={"neighbours": (FISH, DEAD, 12)})
    found = neighbour_firing(race, workshop.toolbox, index=STRIPED_FISH, facts=facts)
    assert [(each.index, each.rate, each.own_rate, each.n_images) for each in found] == [
        (FISH, 1.0, 1.0, 3),
        (12, 0.0, 1.0, 3),
    ]
    assert found[0].cosine is None
