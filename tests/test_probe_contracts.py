"""What exemplars, control sets and image stores promise, asked of the fakes and of the real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from namesae.galleries import Shelf
from tools.control import ControlSet
from tools.errors import ToolError, UsageError
from tools.exemplars import build_probe_set
from tools.fakes import FakeGenerator, FakeScorer, FakeWorld, MemoryImageStore, fake_probe, fake_world
from tools.image_store import SYNCS, ImageStore
from tools.protocols import FindExemplars, KnowsControl, StoresImages


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


STORES: dict[str, Callable[[Path], StoresImages]] = {
    "memory": lambda _: MemoryImageStore(),
    "files": ImageStore,
    "shelf": lambda folder: Shelf(ImageStore(folder)),
}


@pytest.fixture(params=tuple(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoresImages:
    return STORES[request.param](tmp_path)


class TestStoresImages:
    def test_pixels_survive_and_name_the_image(self, store: StoresImages) -> None:
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8))
        image = store.put(picture)
        assert store.get(image).tobytes() == picture.tobytes()
        picture.info["comment"] = "metadata"
        assert store.put(picture) == image == MemoryImageStore().put(picture)
        assert len(image) == 64

    @pytest.mark.parametrize("count", [0, 1, SYNCS, SYNCS + 3])
    def test_many_are_stored_as_one_by_one(self, store: StoresImages, count: int) -> None:
        pictures = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in range(count)]
        known = pictures[:2]
        one_by_one = [MemoryImageStore().put(each) for each in (*pictures, *known)]
        first = [store.put(each) for each in known]
        assert store.put_many([*pictures, *known]) == one_by_one
        assert first == one_by_one[: len(known)]
        assert [store.get(each).getpixel((0, 0)) for each in one_by_one[:count]] == [
            (shade, 0, 0) for shade in range(count)
        ]

    def test_a_missing_image_is_named(self, store: StoresImages) -> None:
        with pytest.raises(KeyError, match="0" * 64):
            store.get("0" * 64)
