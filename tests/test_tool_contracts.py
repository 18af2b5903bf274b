"""What drawing and scoring promise, asked of the fakes and, over tiny random models, of the real tools."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from sae.card import BackboneSpec, Origin
from tools.errors import DependencyError, IntegrityError, ToolError, UsageError
from tools.fakes import FakeGenerator, MemoryImageStore, fake_world
from tools.protocols import (
    DrawImages,
    DrawnImage,
    DrawRequest,
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

pytestmark = pytest.mark.timeout(600)  # the first test that needs a library waits for its import


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


def test_opening_and_drawing_are_silent(hub: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from tools.drawing import load_generator

    store = MemoryImageStore()
    drawn(Painter(load_generator("tiny/sd15", store, device="cpu"), store), ("fish", 1))
    assert capfd.readouterr() == ("", "")


def test_a_hub_id_out_of_reach_is_one_sentence(hub: Path) -> None:
    from tools.drawing import load_generator

    with pytest.raises(DependencyError, match=r"^Generator 'nobody/nothing' is not in .*; check its id and"):
        load_generator("nobody/nothing", MemoryImageStore(), device="cpu")
    with pytest.raises(UsageError, match="is neither a folder nor a hub id"):
        load_generator("./missing/folder/", MemoryImageStore(), device="cpu")


def test_damaged_weights_are_one_sentence(hub: Path, tmp_path: Path) -> None:
    from tools.drawing import load_generator
    from tools.pipelines import locate_pipeline

    folder = tmp_path / "copy"
    shutil.copytree(locate_pipeline("tiny/sd-turbo"), folder)
    whole = load_generator(str(folder), MemoryImageStore(), device="cpu").fingerprint
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    store = MemoryImageStore()
    damaged = load_generator(str(folder), store, device="cpu")
    assert damaged.fingerprint != whole
    with pytest.raises(IntegrityError, match=r"^Generator .*copy cannot be loaded \(.*\); get it again\.$"):
        drawn(Painter(damaged, store), ("fish", 1))


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

    from tests.measured_models import plain
    from tests.tiny_models import WIDTH

    repo, hook_point, pooling = DICTIONARIES[name]
    width = 12 if hook_point == "pooled" else WIDTH
    weights = torch.randn(width, FEATURES, generator=torch.Generator().manual_seed(1))
    made = plain("topk", weights, weights.T, k=5)
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


@pytest.mark.gpu
@pytest.mark.parametrize("repo", PIPELINES)
def test_a_gpu_draws_in_half_precision(hub: Path, repo: str) -> None:
    from tools.drawing import load_generator

    store = MemoryImageStore()
    gpu = load_generator(repo, store, device="cuda")
    assert (gpu.plan.precision, gpu.plan.bucket) == ("fp16", 16)
    alone, *found = (
        drawn(Painter(gpu, store), *asked)[-1] for asked in ([("fish", 7)], [("bird", 1), ("fish", 7)])
    )
    assert [each.image for each in found] == [alone.image]
    assert load_generator(repo, store, device="cpu").fingerprint != gpu.fingerprint


@pytest.mark.gpu
@pytest.mark.parametrize("name", DICTIONARIES)
def test_a_gpu_scores_as_a_cpu_does(hub: Path, tmp_path: Path, name: str) -> None:
    from tools.scoring import load_scorer

    store = MemoryImageStore()
    noise = np.random.default_rng(0).integers(0, 255, (9, 24, 40, 3), dtype=np.uint8)
    images = [store.put(Image.fromarray(each)) for each in noise]
    _write_dictionary(tmp_path, name)
    on_cpu, on_gpu = (load_scorer(tmp_path, store, device=device)(images) for device in ("cpu", "cuda"))
    for one, other in zip(on_cpu, on_gpu, strict=True):
        assert other.activation(int(one.indices[one.values.argmax()])) == pytest.approx(
            one.values.max(), rel=0.05
        )
