from pathlib import Path

import numpy as np
import pytest

from sandbox.heldout import HeldOut, held_out
from sandbox.truth import Floats, best_cuts, concepts, f1_at, load_truth, name_f1, save_truth, truth_table
from sandbox.world.concepts import truth
from sandbox.world.scene import is_held_out


@pytest.fixture(scope="module")
def scenes() -> HeldOut:
    return held_out(4000)


def planted(scenes: HeldOut, name: str, *, noise: float = 0.02, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    shown = truth(name, scenes.labels)
    active = np.where(rng.random(len(shown)) < noise, ~shown, shown)
    activation: Floats = (active * (1 + rng.random(len(shown)))).astype(np.float32)
    return activation


def test_held_out_scenes_are_held_out(scenes: HeldOut) -> None:
    assert len(scenes.scenes) == 4000 and all(is_held_out(scene) for scene in scenes.scenes[:200])
    assert scenes.picture(7).size == (64, 64)


def test_planted_concepts_are_found(scenes: HeldOut) -> None:
    names = [
        "fish",
        "animal",
        "striped",
        "red",
        "water",
        "small",
        "three",
        "not plain",
        "striped fish",
        "red water",
    ]
    columns = np.stack([planted(scenes, name, noise=0.001, seed=i) for i, name in enumerate(names)], axis=1)
    rows = truth_table(columns, scenes.labels)
    kinds = ["object", "family", "texture", "colour", "background", "size", "count", "not", "and", "and"]
    assert [row.concept for row in rows] == names
    assert [row.kind for row in rows] == kinds
    assert all(row.f1 > 0.85 and row.auroc > 0.9 for row in rows)


def test_noise_dead_and_always_active_features_say_nothing(scenes: HeldOut) -> None:
    rng = np.random.default_rng(1)
    noise = (rng.random(4000) * (rng.random(4000) < 0.1)).astype(np.float32)
    dead = np.zeros(4000, np.float32)
    always = (1 + rng.random(4000)).astype(np.float32)
    rows = truth_table(np.stack([noise, dead, always], axis=1), scenes.labels)
    assert [row.kind for row in rows] == ["none"] * 3
    assert [row.concept for row in rows] == [""] * 3


def test_f1_is_reported_on_the_half_that_did_not_choose(scenes: HeldOut) -> None:
    activation = planted(scenes, "fish", noise=0.01)
    activation[1::2] = 0
    assert truth_table(activation[:, None], scenes.labels)[0].f1 == 0
    assert name_f1(activation, truth("fish", scenes.labels)) == 0


def test_best_cuts_by_hand() -> None:
    activation = np.array([3, 2, 2, 1, 0, 0], np.float32)
    labels = np.array([[1], [1], [0], [1], [0], [1]], bool)
    found = best_cuts(activation, labels)
    assert found.cut[0] == 1 and found.f1[0] == pytest.approx(2 * 3 / (4 + 4))
    assert f1_at(activation, 2, labels[:, 0]) == pytest.approx(2 * 2 / (3 + 4))


def test_truth_survives_the_disk(scenes: HeldOut, tmp_path: Path) -> None:
    rows = truth_table(planted(scenes, "moon")[:, None], scenes.labels)
    save_truth(rows, tmp_path)
    assert load_truth(tmp_path) == rows


def test_concepts_hold_no_impossible_pair() -> None:
    for concept in concepts():
        attributes = [value.attribute for value in concept.present]
        assert len(set(attributes)) == len(attributes)
        assert set(attributes) != {"object", "family"}
