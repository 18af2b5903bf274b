import random
import time
from collections import Counter

import numpy as np
import pytest

from sandbox.world.renderer import SIDES, render, render_with_mask
from sandbox.world.scene import Scene, balanced_scene, draw_scene, is_held_out, labels, sample_scene
from sandbox.world.silhouettes import DRAW, silhouette
from sandbox.world.surfaces import PATTERNS
from sandbox.world.vocabulary import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    FAMILIES,
    OBJECTS,
    SIZES,
    TEXTURES,
    family_of,
)


def test_the_world_is_as_large_as_promised() -> None:
    assert len(OBJECTS) >= 20 and len(FAMILIES) >= 5
    assert len(COLOURS) >= 10 and len(set(TEXTURES) - {"plain"}) >= 5
    assert len(BACKGROUNDS) >= 8 and len(SIZES) == 2 and COUNTS == (1, 2, 3)
    assert set(DRAW) == set(OBJECTS) and set(PATTERNS) == set(TEXTURES) - {"plain"}
    assert min(SIDES.values()) >= 16


def test_rendering_is_deterministic_and_the_seed_matters() -> None:
    scene = Scene("fish", "red", "striped", "water", "big", 1)
    first, again, other = (np.asarray(render(scene, seed)) for seed in (1, 1, 2))
    assert first.shape == (64, 64, 3) and first.dtype == np.uint8
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("name", OBJECTS)
def test_silhouettes_fill_their_box_and_differ(name: str) -> None:
    body, ink = silhouette(name, 42)
    shown = np.maximum(np.asarray(body), np.asarray(ink)) > 127
    assert shown.mean() > 0.2
    across, down = shown.any(axis=0).mean(), shown.any(axis=1).mean()
    assert max(across, down) * min(SIDES.values()) >= 16 and min(across, down) > 0.65
    for other in OBJECTS:
        if other != name:
            differs = np.abs(np.asarray(body, int) - np.asarray(silhouette(other, 42).body, int)).mean() / 255
            assert differs > 0.06, other


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("size", SIZES)
def test_masks_hold_the_objects(count: int, size: str) -> None:
    scene = Scene("heart", "red", "plain", "grass", size, count)
    shown = render_with_mask(scene, 5)
    mask = np.asarray(shown.mask) > 200
    red = (np.asarray(shown.image, int) - COLOURS["red"]) ** 2
    assert (red.sum(axis=2)[mask] < 3000).mean() > 0.85
    assert (red.sum(axis=2)[~mask] < 3000).mean() < 0.02


def test_patterns_have_periods_of_five_pixels_or_more() -> None:
    for name, pattern in PATTERNS.items():
        row = pattern(0)[128].astype(int)
        edges = np.flatnonzero(np.diff(row) > 0) / 4
        if len(edges) > 1:
            assert np.diff(edges).min() >= 5, name


def test_colour_is_what_the_label_says_on_average() -> None:
    for colour, rgb in COLOURS.items():
        shown = render_with_mask(Scene("heart", colour, "plain", "brick", "big", 1), 3)
        inside = np.asarray(shown.image)[np.asarray(shown.mask) > 250]
        assert np.abs(np.median(inside, axis=0) - rgb).max() < 12


def test_the_world_is_long_tailed_and_correlated_and_balanced_scenes_are_not() -> None:
    rng = random.Random(0)
    world = [sample_scene(rng) for _ in range(6000)]
    counts = Counter(scene.object for scene in world)
    assert max(counts.values()) > 3 * min(counts.values())
    at_sea = [scene.background == "water" for scene in world if scene.object == "fish"]
    assert sum(at_sea) / len(at_sea) > 0.4
    even = Counter(balanced_scene(rng).object for _ in range(6000))
    assert max(even.values()) < 1.4 * min(even.values())


def test_held_out_scenes_are_one_in_eight_and_never_drawn_for_training() -> None:
    rng = random.Random(1)
    share = np.mean([is_held_out(balanced_scene(rng)) for _ in range(4000)])
    assert 0.10 < share < 0.15
    assert not any(is_held_out(draw_scene(rng, balanced=0.5)) for _ in range(500))
    assert all(is_held_out(draw_scene(rng, balanced=0.5, held_out=True)) for _ in range(200))


def test_labels_say_everything() -> None:
    scene = Scene("castle", "cyan", "ringed", "snow", "small", 3)
    known = labels(scene)
    assert known["family"] == "building" == family_of("castle") and known["count"] == "three"
    assert set(known) == {*ATTRIBUTES, "family"}


@pytest.mark.slow
@pytest.mark.timed
def test_five_hundred_pictures_a_second() -> None:
    rng = random.Random(0)
    scenes = [balanced_scene(rng) for _ in range(2000)]
    for scene in scenes:
        render(scene, 0)
    began = time.process_time()
    for seed, scene in enumerate(scenes):
        render(scene, seed)
    assert 2000 / (time.process_time() - began) >= 500
