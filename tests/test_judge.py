"""The judge: exactly the sealed images, never the search's seeds or template, a floor that draws nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import redis as redis_module

from agent.judge import Case, judge, random_name_floor, sealed_prompts
from agent.plans import Candidate
from agent.seeds import RANGES
from agent.shots import control_activations
from sae.feature import Feature
from tests.naming_world import Workshop, world
from tools.protocols import DrawnImage, DrawRequest
from tools.sealed import Sealed, SealedInMemory, unrelated

FISH = Candidate(name="fish", prompts=("a fish",))
EITHER = Candidate(
    name="ball or forest", kind="or", parts=("ball", "forest"), prompts=("a ball", "forest"), level=0
)


def case(index: int, candidate: Candidate, images: int = 50) -> Case:
    return Case(
        feature=Feature(dictionary="fake", index=index),
        facts=world().exemplars.facts(index),
        candidate=candidate,
        images=images,
        seed=3,
    )


def test_exactly_the_sealed_images_are_drawn_with_sealed_seeds_and_the_judge_template() -> None:
    shop = Workshop()
    judgement = judge(shop.toolbox, case(1, FISH))
    drawn = list(shop.draw.counts)
    assert len(drawn) == len(judgement.shots) == 50
    low, high = RANGES["judge"]
    assert all(low <= request.seed < high for request in drawn)
    assert {request.prompt for request in drawn} == {"a photo of a fish"}
    assert len({request.seed for request in drawn}) == 50
    assert shop.bank.rows == {}


def test_the_sealed_score_is_cosy_against_the_whole_control_set_under_its_ceiling() -> None:
    shop = Workshop()
    sealed = judge(shop.toolbox, case(1, FISH)).sealed
    assert sealed is not None
    assert (sealed.n_generated, sealed.n_control) == (50, len(world().control.images))
    assert sealed.ceiling == pytest.approx(1 - (world().control.share("fish") or 0) / 2)
    assert sealed.auroc > 0.85
    assert sealed.auroc_ci.low <= sealed.auroc <= sealed.auroc_ci.high


@pytest.mark.parametrize("images", [50, 7])
def test_the_parts_of_an_or_are_judged_each_on_its_own_images(images: int) -> None:
    shop = Workshop()
    judgement = judge(shop.toolbox, case(5, EITHER, images))
    prompts = [want.prompt for want in sealed_prompts(EITHER, images=images, seed=3)]
    assert prompts.count("a ball") - prompts.count("forest") in (0, 1)
    assert [part.n_generated for part in judgement.parts] == [
        prompts.count("a ball"),
        prompts.count("forest"),
    ]
    assert all(part.auroc > 0.8 for part in judgement.parts)
    assert judge(shop.toolbox, case(1, FISH)).parts == ()


def test_the_same_name_is_judged_on_the_same_images_for_every_feature() -> None:
    shop = Workshop()
    first, second = judge(shop.toolbox, case(1, FISH)), judge(shop.toolbox, case(7, FISH))
    assert [shot.image for shot in first.shots] == [shot.image for shot in second.shots]
    assert max(shop.draw.counts.values()) == 1


def test_the_floor_comes_from_other_names_and_draws_nothing() -> None:
    shop = Workshop()
    control = control_activations(shop.toolbox, 1)
    floor, names = random_name_floor(shop.toolbox, case(1, FISH), control=control)
    assert names == ()
    assert floor == pytest.approx(0.5, abs=0.1)
    for name in ("red", "water", "striped fish"):
        prompt = f"a photo of {name}"
        drawn = shop.draw([DrawRequest(prompt=prompt, seed=2**33 + at) for at in range(9)])
        shop.sealed.add(name, [each.image for each in drawn if each.image])
    before = sum(shop.draw.counts.values())
    floor, names = random_name_floor(shop.toolbox, case(1, FISH), control=control)
    assert set(names) == {"red", "water"}
    assert floor < 0.5
    assert sum(shop.draw.counts.values()) == before


def test_a_not_is_held_against_the_control_alone() -> None:
    shop = Workshop()
    shop.sealed.add("fish", ["0" * 64])
    nothing_blue = Candidate(name="not blue", kind="not", prompts=("red", "green"))
    floor, names = random_name_floor(
        shop.toolbox, case(6, nothing_blue), control=control_activations(shop.toolbox, 6)
    )
    assert names == ()
    assert floor == pytest.approx(0.5, abs=0.1)


def test_a_name_whose_images_all_fail_has_no_score() -> None:
    shop = Workshop(draw=_Blind())
    judgement = judge(shop.toolbox, case(1, FISH))
    assert judgement.sealed is None
    assert len(judgement.shots) == 50


class _Blind:
    card, fingerprint = world().draw.card, "blind"

    def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
        return [DrawnImage(request=each, image=None, fault="black") for each in requests]


def test_sealed_names_without_common_words_are_chosen_by_hash() -> None:
    names = ["red", "striped fish", "not fish", "water or sky", "a boat"]
    chosen = unrelated("fish", names, top=9)
    assert set(chosen) == {"red", "water or sky", "a boat"}
    assert chosen == unrelated("fish", names[::-1], top=9)
    assert unrelated("fish", names, top=2) == chosen[:2]
    assert unrelated("fish", names, top=0) == []


def test_the_sealed_partition_in_redis_keeps_the_first_record(redis: redis_module.Redis) -> None:
    memory = SealedInMemory()
    stores = (Sealed(redis, generator="g", seed=1), memory)
    for store in stores:
        store.add("red", ["a", "b"])
        store.add("red", ["c"])
        store.add("fish", ["d"])
        assert store.others("striped cat", top=8) == {"red": ("a", "b"), "fish": ("d",)}
        assert store.others("red fish", top=8) == {}
    assert Sealed(redis, generator="g", seed=2).others("x", top=8) == {}


def test_control_activations_keep_the_order_of_the_control_set() -> None:
    shop = Workshop()
    column = control_activations(shop.toolbox, 1)
    first = world().score(shop.toolbox.control.images[:7])
    assert np.allclose(column[:7], [code.activation(1) for code in first])
