"""What every tool promises, asked of its fake and of the real one over tiny random models, offline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from sae.card import BackboneSpec, Origin
from tools.control import ControlSet
from tools.errors import ToolError, UsageError
from tools.exemplars import build_probe_set
from tools.fakes import FakeGenerator, FakeScorer, FakeWorld, MemoryImageStore, fake_probe, fake_world
from tools.image_store import ImageStore
from tools.protocols import (
    DrawImages,
    DrawnImage,
    DrawRequest,
    FindExemplars,
    KnowsControl,
    ScoreImages,
    SparseCode,
    StoresImages,
)

TINY_CARD = {
    "generator": "tiny",
    "draws": "Noise.",
    "size": 32,
    "vocabulary": ["fish", "bird", "striped", "red"],
    "search_template": "a picture of {}",
    "judge_template": "a photo of {}",
    "steps": 3,
    "guidance": 4.0,
}
PIPELINES = ("tiny/sd15", "tiny/sd-turbo", "tiny/sdxl")
DICTIONARIES = {
    "clip": ("openai/clip-vit-base-patch32", "pooled", "none"),
    "dinov2": ("facebook/dinov2-base", "block.1", "max"),
}
"""Backbone of the hub, hook point, pooling."""
FEATURES = 40


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A hub cache of tiny models under the names people give; nothing but it can be reached."""
    from tests.tiny_models import HUB_IDS, WRITERS, write_hub_model
    from tests.tiny_pipelines import write_hub_pipeline

    cache = tmp_path_factory.mktemp("hub")
    for repo in PIPELINES:
        turbo = {"steps": 1, "guidance": 0.0} if repo == "tiny/sd-turbo" else {}
        write_hub_pipeline(cache, repo, card=TINY_CARD | {"generator": repo} | turbo)
    for repo, _, _ in DICTIONARIES.values():
        write_hub_model(cache, repo, WRITERS[HUB_IDS[repo]][1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(cache))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield cache


class Painter(NamedTuple):
    """A generator and where its pictures lie."""

    draw: DrawImages
    store: StoresImages


@pytest.fixture(scope="module", params=["fake", *PIPELINES])
def painter(request: pytest.FixtureRequest) -> Painter:
    store = MemoryImageStore()
    if request.param == "fake":
        return Painter(FakeGenerator(store), store)
    from tools.drawing import load_generator

    request.getfixturevalue("hub")
    return Painter(load_generator(request.param, store, device="cpu"), store)


def drawn(painter: Painter, *requests: tuple[str, int]) -> list[DrawnImage]:
    return painter.draw([DrawRequest(prompt=prompt, seed=seed) for prompt, seed in requests])


class TestDrawImages:
    def test_one_stored_image_of_the_cards_size_per_request(self, painter: Painter) -> None:
        asked = [("a fish", 1), ("red bird", 2), ("a fish", 3), ("striped", 4), ("", 5)]
        found = drawn(painter, *asked)
        assert [(each.request.prompt, each.request.seed) for each in found] == asked
        assert [each.fault for each in found] == [None] * 5
        side = painter.draw.card.size
        sizes = {painter.store.get(each.image).size for each in found if each.image}
        assert sizes == {(side, side)}

    def test_an_image_is_bit_equal_whatever_its_batch_mates(self, painter: Painter) -> None:
        wanted = ("a striped fish", 2**47 + 5)
        (alone,) = drawn(painter, wanted)
        for place, count in ((0, 2), (3, 3), (5, 6)):
            mates = [("a red bird" if seed % 2 else "bird", seed) for seed in range(count)]
            found = drawn(painter, *mates[:place], wanted, *mates[place:])
            assert found[place].image == alone.image

    def test_seed_and_prompt_both_matter(self, painter: Painter) -> None:
        found = drawn(painter, ("a fish", 1), ("a fish", 2), ("a red bird", 1), ("a fish", 1))
        assert len({each.image for each in found[:3]}) == 3
        assert found[3].image == found[0].image

    def test_nothing_is_drawn_for_no_request(self, painter: Painter) -> None:
        assert drawn(painter) == []

    def test_an_unknown_word_is_the_agents_mistake(self, painter: Painter) -> None:
        with pytest.raises(ToolError, match="does not know 'zebra'"):
            drawn(painter, ("a fish", 1), ("a zebra", 2))

    def test_the_card_can_be_drawn_with(self, painter: Painter) -> None:
        card = painter.draw.card
        word = (card.vocabulary or ("fish",))[0]
        found = drawn(painter, (card.search_template.format(word), 1), (card.judge_template.format(word), 1))
        assert all(each.image for each in found)

    def test_the_fingerprint_is_one_of_its_kind(self, painter: Painter) -> None:
        assert len(painter.draw.fingerprint) >= 16
        assert painter.draw.fingerprint == painter.draw.fingerprint


class Reader(NamedTuple):
    """A scorer and images in its store, more than a batch holds and no multiple of one."""

    score: ScoreImages
    store: StoresImages
    images: list[str]
    n_features: int


@pytest.fixture(scope="module", params=["fake", *DICTIONARIES])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    store = MemoryImageStore()
    if request.param == "fake":
        world = fake_world(store)
        return Reader(world.score, store, [*world.control.images[:21]], world.score.n_features)
    request.getfixturevalue("hub")
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (21, 24, 40, 3), dtype=np.uint8)
    images = [store.put(Image.fromarray(each)) for each in noise]
    folder = tmp_path_factory.mktemp(request.param)
    _write_dictionary(folder, request.param)
    from tools.scoring import load_scorer

    return Reader(load_scorer(folder, store, device="cpu"), store, images, FEATURES)


def _write_dictionary(folder: Path, name: str) -> None:
    import torch

    from sae.dictionary import SparseDictionary
    from tests.tiny_models import WIDTH

    repo, hook_point, pooling = DICTIONARIES[name]
    width = 12 if hook_point == "pooled" else WIDTH
    weights = torch.randn(width, FEATURES, generator=torch.Generator().manual_seed(1))
    zero, one = torch.zeros(width), torch.ones(())
    made = SparseDictionary(
        "topk",
        W_enc=weights,
        b_enc=torch.zeros(FEATURES),
        W_dec=weights.T,
        b_dec=zero,
        mean=zero,
        scale=one,
        k=5,
    )
    backbone = BackboneSpec(kind="transformers", source=repo)
    made.save(
        folder,
        Origin.model_validate(
            {"name": name, "backbone": backbone, "hook_point": hook_point, "pooling": pooling}
        ),
    )


def _same(one: SparseCode, other: SparseCode) -> bool:
    return np.array_equal(one.indices, other.indices) and np.array_equal(one.values, other.values)


class TestScoreImages:
    def test_one_sparse_code_per_image(self, reader: Reader) -> None:
        codes = reader.score(reader.images)
        assert len(codes) == 21
        for code in codes:
            assert code.indices.dtype == np.int32 and code.values.dtype == np.float32
            assert len(code.indices) == len(code.values) > 0
            assert np.all(np.diff(code.indices) > 0) and np.all(code.values > 0)
            assert code.indices[0] >= 0 and code.indices[-1] < reader.n_features
            assert code.activation(int(code.indices[0])) == code.values[0]
            assert code.activation(reader.n_features + 5) == 0.0

    def test_a_code_is_bit_equal_whatever_its_batch_mates(self, reader: Reader) -> None:
        codes = reader.score(reader.images)
        (alone,) = reader.score([reader.images[17]])
        assert _same(alone, codes[17])
        backwards = reader.score(reader.images[::-1])
        assert all(_same(one, other) for one, other in zip(codes, backwards[::-1], strict=True))

    def test_images_differ(self, reader: Reader) -> None:
        codes = reader.score(reader.images)
        assert not _same(codes[0], codes[1])

    def test_nothing_is_scored_for_no_image(self, reader: Reader) -> None:
        assert reader.score([]) == []

    def test_a_missing_image_is_named(self, reader: Reader) -> None:
        with pytest.raises(KeyError, match="0" * 64):
            reader.score([reader.images[0], "0" * 64])

    def test_it_says_what_it_is(self, reader: Reader) -> None:
        assert reader.score.dictionary
        assert len(reader.score.fingerprint) >= 16


@pytest.fixture(scope="module")
def world() -> FakeWorld:
    return fake_world()


@pytest.fixture(scope="module", params=["fake", "probe set"])
def exemplars(
    request: pytest.FixtureRequest, world: FakeWorld, tmp_path_factory: pytest.TempPathFactory
) -> FindExemplars:
    if request.param == "fake":
        return world.exemplars
    probe = fake_probe(FakeGenerator(world.store), count=1000, seed=1)
    score: FakeScorer = world.score
    folder = tmp_path_factory.mktemp("probe")
    codes = score(probe.images)
    return build_probe_set(folder, probe.images, codes, n_features=score.n_features, scorer=score.fingerprint)


class TestFindExemplars:
    def test_exemplars_are_probe_images_highest_first(
        self, exemplars: FindExemplars, world: FakeWorld
    ) -> None:
        found = exemplars(0, count=7)
        assert len(found) == 7
        values = [each.activation for each in found]
        assert values == sorted(values, reverse=True)
        codes = world.score([each.image for each in found])
        assert [code.activation(0) for code in codes] == pytest.approx(values)

    def test_bands_lie_where_they_say(self, exemplars: FindExemplars) -> None:
        everything = [each.activation for each in exemplars(0, count=10_000)]
        middle = [each.activation for each in exemplars(0, count=10_000, low=0.4, high=0.6)]
        assert min(everything) > 0
        assert np.quantile(everything, 0.39) <= min(middle) <= max(middle) <= np.quantile(everything, 0.61)
        assert len(middle) == pytest.approx(len(everything) / 5, abs=1)

    def test_facts_fit_the_exemplars(self, exemplars: FindExemplars) -> None:
        facts = exemplars.facts(0)
        live = [each.activation for each in exemplars(0, count=10_000)]
        assert facts.density == pytest.approx(len(live) / 1000)
        assert facts.p99 == pytest.approx(np.percentile(live, 99))
        assert facts.threshold == pytest.approx(facts.p99 / 2)

    def test_a_dead_feature_has_none(self, exemplars: FindExemplars) -> None:
        assert exemplars(8, count=3) == []
        assert (exemplars.facts(8).density, exemplars.facts(8).threshold) == (0, 0)

    def test_a_band_that_is_none_is_the_agents_mistake(self, exemplars: FindExemplars) -> None:
        with pytest.raises(ToolError, match="is not one"):
            exemplars(0, count=3, low=0.9, high=0.1)

    def test_a_feature_out_of_range_says_the_range(self, exemplars: FindExemplars) -> None:
        with pytest.raises(UsageError, match="Feature 99 is out of range: give 0 to 12"):
            exemplars.facts(99)


@pytest.fixture(scope="module", params=["fake", "control set"])
def control(request: pytest.FixtureRequest, world: FakeWorld) -> KnowsControl:
    if request.param == "fake":
        return world.control

    def label(image: str, name: str) -> bool | None:
        code = world.score([image])[0]
        return code.activation(0) > 5 if name == "striped" else None

    return ControlSet(world.control.images, label=label, labelled_by="the fake scorer")


class TestKnowsControl:
    def test_it_is_one(self, control: KnowsControl) -> None:
        assert isinstance(control, KnowsControl)
        assert len(control.fingerprint) >= 16

    def test_a_thousand_different_images_in_the_store(self, control: KnowsControl, world: FakeWorld) -> None:
        assert len(set(control.images)) == len(control.images) >= 1000
        assert control.images == control.images
        assert world.store.get(control.images[-1]).size == (16, 16)

    def test_the_share_is_known_or_none(self, control: KnowsControl) -> None:
        assert control.share("striped") == pytest.approx(0.15, abs=0.03)
        assert control.share("zebra") is None


@pytest.fixture(params=["memory", "files"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoresImages:
    return MemoryImageStore() if request.param == "memory" else ImageStore(tmp_path)


class TestStoresImages:
    def test_pixels_survive_and_name_the_image(self, store: StoresImages) -> None:
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8))
        image = store.put(picture)
        assert store.get(image).tobytes() == picture.tobytes()
        picture.info["comment"] = "metadata"
        assert store.put(picture) == image == MemoryImageStore().put(picture)
        assert len(image) == 64

    def test_a_missing_image_is_named(self, store: StoresImages) -> None:
        with pytest.raises(KeyError, match="0" * 64):
            store.get("0" * 64)
