from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tools.errors import ToolError, UsageError
from tools.fakes import (
    FAKE_FEATURES,
    FakeControl,
    FakeFeature,
    FakeGenerator,
    FakeScorer,
    FakeWorld,
    MemoryImageStore,
    fake_probe,
    fake_world,
)
from tools.protocols import (
    DrawImages,
    DrawRequest,
    FindExemplars,
    KnowsControl,
    ScoreImages,
    StoresImages,
)


@pytest.fixture(scope="module")
def world() -> FakeWorld:
    return fake_world()


def fires(world: FakeWorld, prompt: str, index: int, *, seed: int = 1) -> bool:
    (drawn,) = world.draw([DrawRequest(prompt=prompt, seed=seed)])
    assert drawn.image is not None
    (code,) = world.score([drawn.image])
    return code.activation(index) > world.exemplars.facts(index).threshold


def test_the_fakes_are_the_protocols(world: FakeWorld) -> None:
    draw: DrawImages = world.draw
    score: ScoreImages = world.score
    find: FindExemplars = world.exemplars
    control: KnowsControl = world.control
    store: StoresImages = world.store
    assert draw and score and find and control and store is not None
    assert len({draw.fingerprint, score.fingerprint, find.fingerprint, control.fingerprint}) == 4


@pytest.mark.parametrize(
    ("index", "prompt", "expected"),
    [
        (0, "a striped ball", True),
        (0, "a dotted ball", False),
        (4, "a photo of a striped fish", True),
        (4, "a photo of a fish", False),
        (4, "a striped bird", False),
        (5, "a ball", True),
        (5, "the forest", True),
        (5, "water", False),
        (6, "a red car", True),
        (6, "a blue car", False),
        (7, "a picture of an animal", True),
        (7, "a horse on sand", True),
        (7, "a train on sand", False),
        (8, "fish", False),
        (9, "sky", True),
        (10, "a flower", False),
    ],
)
def test_planted_features_answer_as_planted(
    world: FakeWorld, index: int, prompt: str, expected: bool
) -> None:
    assert fires(world, prompt, index) is expected


def test_the_broken_word_lives_in_the_probe_set_alone(world: FakeWorld) -> None:
    facts = world.exemplars.facts(10)
    assert facts.density > 0.1
    assert facts.tags[0][0] == "flower"


def test_a_rate_below_one_fires_on_that_share() -> None:
    store = MemoryImageStore()
    draw = FakeGenerator(store)
    score = FakeScorer(store, "d", {0: FakeFeature(words=("tree",), rate=0.35)})
    drawn = draw([DrawRequest(prompt="tree", seed=seed) for seed in range(400)])
    strong = [code.activation(0) > 5 for code in score([each.image for each in drawn if each.image])]
    assert np.mean(strong) == pytest.approx(0.35, abs=0.08)


def test_other_images_have_none_or_a_faint_activation(world: FakeWorld) -> None:
    drawn = world.draw([DrawRequest(prompt="sand", seed=seed) for seed in range(200)])
    faint = [code.activation(0) for code in world.score([each.image for each in drawn if each.image])]
    assert 0 < np.mean(np.array(faint) > 0) < 0.3
    assert max(faint) < world.exemplars.facts(0).threshold / 10


def test_every_image_is_another_yet_repeatable(world: FakeWorld) -> None:
    requests = [DrawRequest(prompt=prompt, seed=seed) for prompt in ("fish", "a fish") for seed in (1, 2**48)]
    images = [each.image for each in world.draw(requests)]
    assert len(set(images)) == 4
    assert [each.image for each in world.draw(requests)] == images
    assert world.draw.drawn[-4:] == requests


def test_faults_are_reported_without_an_image() -> None:
    draw = FakeGenerator(MemoryImageStore(), faulty={"black": "black", "red": "filtered"})
    found = draw([DrawRequest(prompt=prompt, seed=1) for prompt in ("a black cat", "a red cat", "a cat")])
    assert [each.fault for each in found] == ["black", "filtered", None]
    assert [each.image is None for each in found] == [True, True, False]


def test_unknown_words_are_named_before_anything_is_drawn(world: FakeWorld) -> None:
    before = len(world.draw.drawn)
    with pytest.raises(ToolError, match=r"^fake does not know 'zebra', 'without'; use only words"):
        world.draw([DrawRequest(prompt=prompt, seed=1) for prompt in ("fish", "zebra without zebra")])
    assert len(world.draw.drawn) == before


def test_too_many_words_for_a_picture_are_the_agents_mistake() -> None:
    words = [f"w{number}" for number in range(300)]
    with pytest.raises(ToolError, match="holds 251"):
        FakeGenerator(MemoryImageStore(), vocabulary=words)([DrawRequest(prompt=" ".join(words), seed=0)])


def test_fingerprints_tell_fakes_apart(world: FakeWorld) -> None:
    store = MemoryImageStore()
    assert FakeGenerator(store).fingerprint == FakeGenerator(store).fingerprint
    assert FakeGenerator(store, broken=("fish",)).fingerprint != FakeGenerator(store).fingerprint
    assert FakeScorer(store, "fake", {}).fingerprint != world.score.fingerprint
    assert fake_world().exemplars.fingerprint == world.exemplars.fingerprint
    assert fake_world(noise=0.5).exemplars.fingerprint != world.exemplars.fingerprint


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("striped fish", 0.02),
        ("animal", 0.5),
        ("ball or forest", 0.27),
        ("not blue", 0.87),
        ("not blue fish", 0.13),
    ],
)
def test_shares_are_exact(world: FakeWorld, name: str, expected: float) -> None:
    assert world.control.share(name) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("name", ["zebra", "", "a", "striped zebra"])
def test_a_share_that_no_label_knows_is_none(world: FakeWorld, name: str) -> None:
    assert world.control.share(name) is None


def test_shares_count_what_the_pictures_show() -> None:
    draw = FakeGenerator(MemoryImageStore())
    probe = fake_probe(draw, count=50, seed=3)
    share = np.mean(["fish" in shown for shown in probe.shown])
    assert FakeControl(probe).share("fish") == pytest.approx(share)


def test_a_faulty_generator_cannot_make_a_probe_set() -> None:
    with pytest.raises(UsageError, match="without faulty words"):
        fake_probe(FakeGenerator(MemoryImageStore(), faulty={"fish": "black"}), count=50, seed=3)


def test_tags_find_the_words_and_noise_hides_them(world: FakeWorld) -> None:
    tops = [world.exemplars.facts(index).tags[0][0] for index in (0, 1, 2, 3)]
    assert tops == ["striped", "fish", "red", "water"]
    assert {word for word, _ in world.exemplars.facts(4).tags[:2]} == {"striped", "fish"}
    noisy = fake_world(noise=30.0).exemplars
    assert [noisy.facts(index).tags[0][0] for index in (0, 1, 2, 3)] != tops


def test_every_kind_is_planted() -> None:
    kinds = {planted.kind for planted in FAKE_FEATURES.values()}
    assert kinds == {"word", "and", "or", "not", "family", "dead", "dense"}
    assert [FAKE_FEATURES[index].truth for index in (4, 5, 6, 7)] == [
        "striped fish",
        "ball or forest",
        "not blue",
        "animal",
    ]


def test_the_fakes_import_no_model_library() -> None:
    heavy = "{'torch', 'diffusers', 'transformers', 'open_clip', 'timm', 'scipy'}"
    code = f"import sys, tools.fakes; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
