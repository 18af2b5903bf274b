"""Activations on disk: written by a real tiny backbone, read back, traced, checked, damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.backbone import VisionBackbone
from sae.card import BackboneSpec
from sae.errors import BadImages, BadStore, UnknownHookPoint
from sae.image_source import FolderImages
from sae.store.extract import Extraction, LoadedBackbone, Progress, Wanted, load_for_extraction
from sae.store.manifest import Dtype, Manifest, Scope
from sae.store.moments import merged, moments_of, no_moments
from sae.store.reader import ActivationStore, check_sums, open_store, read_manifest
from sae.store.rows import read_range
from sae.store.writer import store_writer
from tests.image_folders import write_images
from tests.tiny_models import WIDTH, write_dinov2_registers, write_open_clip

COUNT = 11
WANTED = Wanted(("block.1", "pooled"), scope="patch", dtype="fp32", batch_size=3, shard_images=4)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> FolderImages:
    return FolderImages(write_images(tmp_path_factory.mktemp("images"), count=COUNT))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> LoadedBackbone:
    folder = tmp_path_factory.mktemp("models") / "clip"
    write_open_clip(folder)
    return load_for_extraction(BackboneSpec(kind="open_clip", source=str(folder)))


@pytest.fixture
def extraction(images: FolderImages, backbone: LoadedBackbone) -> Extraction:
    return Extraction(images, backbone, WANTED)


def held(images: FolderImages, backbone: VisionBackbone, hook_point: str) -> torch.Tensor:
    """What the backbone holds of all images, one at a time."""
    pictures = [images.read(row).image for row in range(len(images))]
    return torch.cat(
        [backbone.activations(backbone.preprocess([each]), [hook_point])[hook_point] for each in pictures]
    )


def all_rows(store: ActivationStore) -> torch.Tensor:
    return read_range(store, 0, store.rows)


@pytest.mark.parametrize(
    ("scope", "taken"),
    [("patch", slice(1, None)), ("cls", slice(0, 1)), ("all", slice(None))],
)
def test_a_store_holds_what_the_backbone_gave(
    extraction: Extraction, tmp_path: Path, scope: Scope, taken: slice
) -> None:
    extraction = replace(extraction, wanted=WANTED._replace(scope=scope))
    manifest = extraction.run(tmp_path / "store")
    store = open_store(tmp_path / "store", "block.1")
    backbone, images = extraction.backbone.model, extraction.source
    assert isinstance(images, FolderImages)
    expected = held(images, backbone, "block.1")[:, taken].flatten(0, 1)
    assert torch.allclose(all_rows(store), expected, atol=1e-5)
    pooled = open_store(tmp_path / "store", "pooled")
    assert (pooled.part.scope, pooled.part.tokens) == ("pooled", 1)
    assert torch.allclose(all_rows(pooled), held(images, backbone, "pooled"), atol=1e-5)
    assert manifest.images == COUNT and [shard.images for shard in manifest.shards] == [4, 4, 3]


def test_several_hook_points_are_one_pass(extraction: Extraction, tmp_path: Path) -> None:
    model, passes = extraction.backbone.model, []

    class Counting:
        def __getattr__(self, name: str) -> object:
            return getattr(model, name)

        def activations(self, pixels: torch.Tensor, hook_points: list[str]) -> dict[str, torch.Tensor]:
            passes.append(len(pixels))
            return model.activations(pixels, hook_points)

    counted = LoadedBackbone(Counting(), extraction.backbone.spec, "x")  # type: ignore[arg-type]
    replace(extraction, backbone=counted).run(tmp_path / "store")
    # The first looks at a grey picture; shards of 4, 4 and 3 images in passes of 3, all filled up.
    assert passes == [1, 3, 3, 3, 3, 3]


def test_a_row_leads_back_to_its_image_and_patch(extraction: Extraction, tmp_path: Path) -> None:
    extraction.run(tmp_path / "store")
    store, model = open_store(tmp_path / "store", "block.1"), extraction.backbone.model
    assert store.part.grid == (4, 4)
    row = 9 * 16 + 6
    place = store.place(row)
    assert place.image.image == extraction.source.key(9) == "class-1/007.png"
    assert (place.token, place.patch, place.image.label) == (6, (1, 2), "class-1")
    picture = extraction.source.read(place.image.row)
    assert picture.sha256 == place.image.sha256
    tokens = model.activations(model.preprocess([picture.image]), ["block.1"])["block.1"]
    assert torch.allclose(read_range(store, row, row + 1)[0], tokens[0, 1 + place.token], atol=1e-5)
    assert [entry.row for entry in store.images()] == list(range(COUNT))
    with pytest.raises(IndexError, match="Row 176 is not one of the 176"):
        store.place(store.rows)


def test_class_and_register_tokens_are_no_patches(images: FolderImages, tmp_path: Path) -> None:
    write_dinov2_registers(tmp_path / "dino")
    spec = BackboneSpec(kind="transformers", source=str(tmp_path / "dino"))
    wanted = WANTED._replace(hook_points=("block.0",), scope="all")
    Extraction(images, load_for_extraction(spec), wanted).run(tmp_path / "store")
    store = open_store(tmp_path / "store")
    assert (store.part.tokens, store.part.prefix) == (19, 3)
    assert [store.place(row).patch for row in (0, 2, 3, 18)] == [None, None, (0, 0), (3, 3)]


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp16", 2e-3), ("bf16", 2e-2), ("fp32", 1e-6)])
def test_every_type_keeps_its_digits(
    extraction: Extraction, tmp_path: Path, dtype: Dtype, tolerance: float
) -> None:
    replace(extraction, wanted=WANTED._replace(dtype=dtype)).run(tmp_path / "store")
    extraction.run(tmp_path / "exact")
    found, exact = (all_rows(open_store(tmp_path / name, "block.1")).float() for name in ("store", "exact"))
    assert torch.allclose(found, exact, rtol=tolerance, atol=tolerance)


def test_statistics_are_those_of_what_is_stored(extraction: Extraction, tmp_path: Path) -> None:
    replace(extraction, wanted=WANTED._replace(dtype="bf16")).run(tmp_path / "store")
    store = open_store(tmp_path / "store", "block.1")
    rows = all_rows(store).double()
    assert np.allclose(store.statistics.mean, rows.mean(0), atol=1e-12)
    assert np.allclose(store.statistics.variance, rows.var(0, correction=0), atol=1e-12)
    gamma = rows.mean(0).norm() / rows.var(0, correction=0).sum().sqrt()
    assert store.statistics.gamma == pytest.approx(float(gamma))


@settings(max_examples=30)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.floats(-1e6, 1e6))
def test_moments_do_not_depend_on_the_chunks(sizes: list[int], offset: float) -> None:
    rows = (
        torch.randn(sum(sizes), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + offset
    )
    total = no_moments(3)
    for part in torch.split(rows, sizes):
        total = merged(total, moments_of(part))
    assert total.n == len(rows)
    assert np.allclose(total.mean, moments_of(rows).mean) and np.allclose(
        total.squares, moments_of(rows).squares
    )


def test_a_broken_image_is_counted_and_left_out(backbone: LoadedBackbone, tmp_path: Path) -> None:
    images = FolderImages(write_images(tmp_path / "images", count=7, broken=(2, 5)))
    told: list[Progress] = []
    manifest = Extraction(images, backbone, WANTED).run(tmp_path / "store", told=told.append)
    assert manifest.images == 5 and [each.image for each in manifest.skipped] == [
        "class-0/002.png",
        "class-1/005.png",
    ]
    assert "002.png cannot be read" in manifest.skipped[0].why
    assert told[-1] == Progress(7, 7, 2)
    assert [entry.row for entry in open_store(tmp_path / "store", "pooled").images()] == [0, 2, 3, 4, 5]


def test_a_broken_image_stops_where_that_is_asked(backbone: LoadedBackbone, tmp_path: Path) -> None:
    images = FolderImages(write_images(tmp_path / "images", count=7, broken=(5,)))
    wanted = WANTED._replace(skip_unreadable=False)
    with pytest.raises(BadImages, match=r"005\.png cannot be read; replace it"):
        Extraction(images, backbone, wanted).run(tmp_path / "store")
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_only_broken_images_are_no_store(backbone: LoadedBackbone, tmp_path: Path) -> None:
    images = FolderImages(write_images(tmp_path / "images", count=2, broken=(0, 1)))
    with pytest.raises(BadStore, match="No image of folder:"):
        Extraction(images, backbone, WANTED).run(tmp_path / "store")


def test_a_finished_extraction_is_not_repeated(extraction: Extraction, tmp_path: Path) -> None:
    first = extraction.run(tmp_path / "store")
    told: list[Progress] = []
    assert extraction.run(tmp_path / "store", told=told.append) == first
    assert told == []


def test_an_interrupted_extraction_reads_nothing_twice(extraction: Extraction, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done >= 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extraction.run(tmp_path / "store", told=stop)
    with pytest.raises(BadStore, match=r"is not finished \(1 of 3 shards\)"):
        open_store(tmp_path / "store")
    read: list[int] = []

    class Watched(FolderImages):
        def read(self, row: int):  # type: ignore[no-untyped-def]
            read.append(row)
            return super().read(row)

    watched = replace(extraction, source=Watched(extraction.source.folder))  # type: ignore[attr-defined]
    manifest = watched.run(tmp_path / "store")
    assert sorted(read) == list(range(4, COUNT))
    assert manifest == extraction.run(tmp_path / "whole")
    assert same_files(tmp_path / "store", tmp_path / "whole")


def same_files(first: Path, second: Path) -> bool:
    names = [sorted(path.relative_to(each) for path in each.rglob("*")) for each in (first, second)]
    files = [name for name in names[0] if (first / name).is_file()]
    return names[0] == names[1] and all((first / f).read_bytes() == (second / f).read_bytes() for f in files)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dtype": "fp16"}, r"another dtype \(fp32, now fp16\)"),
        ({"scope": "cls"}, "another parts"),
        ({"shard_images": 5}, "another shard images"),
    ],
)
def test_another_plan_is_refused(
    extraction: Extraction, tmp_path: Path, change: dict[str, object], told: str
) -> None:
    extraction.run(tmp_path / "store")
    (tmp_path / "store" / "manifest.json").unlink()
    changed = replace(extraction, wanted=WANTED._replace(**change))  # type: ignore[arg-type]
    with pytest.raises(BadStore, match=told):
        changed.run(tmp_path / "store")


def test_a_folder_with_something_else_is_refused(extraction: Extraction, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadStore, match=r"holds notes\.txt and no activation store"):
        extraction.run(tmp_path)


def test_two_writers_do_not_share_a_store(extraction: Extraction, tmp_path: Path) -> None:
    with store_writer(tmp_path, extraction.plan()), pytest.raises(BadStore, match="by another process"):
        extraction.run(tmp_path)


def test_values_that_do_not_fit_are_refused(extraction: Extraction, tmp_path: Path) -> None:
    model = extraction.backbone.model

    class Loud:
        def __getattr__(self, name: str) -> object:
            return getattr(model, name)

        def activations(self, pixels: torch.Tensor, hook_points: list[str]) -> dict[str, torch.Tensor]:
            return {name: each * 1e6 for name, each in model.activations(pixels, hook_points).items()}

    loud = replace(
        extraction,
        backbone=LoadedBackbone(Loud(), extraction.backbone.spec, "x"),  # type: ignore[arg-type]
        wanted=WANTED._replace(dtype="fp16"),
    )
    with pytest.raises(BadStore, match=r"reach .* more than torch.float16 holds; store them as bf16 or fp32"):
        loud.run(tmp_path / "store")


def test_a_scope_that_does_not_fit_is_refused(extraction: Extraction) -> None:
    wrong = replace(extraction, wanted=WANTED._replace(scope="pooled"))
    with pytest.raises(BadStore, match="holds 17 tokens with a class token, so 'pooled' does not fit"):
        wrong.plan()
    with pytest.raises(UnknownHookPoint):
        replace(extraction, wanted=WANTED._replace(hook_points=("block.9",))).plan()
    with pytest.raises(BadStore, match="give each once"):
        replace(extraction, wanted=WANTED._replace(hook_points=("pooled", "pooled"))).plan()


def test_a_hook_point_must_be_chosen_where_there_are_two(extraction: Extraction, tmp_path: Path) -> None:
    extraction.run(tmp_path / "store")
    with pytest.raises(BadStore, match=r"holds the hook points block\.1, pooled; say which"):
        open_store(tmp_path / "store")
    with pytest.raises(BadStore, match=r"has no hook point 'block\.7'"):
        open_store(tmp_path / "store", "block.7")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("name", "damage", "opened", "told"),
    [
        ("block.1/00001.bin", cut, True, r"00001\.bin has 4095 bytes, not 4096"),
        ("block.1/00001.bin", Path.unlink, True, r"00001\.bin is missing"),
        ("block.1/00002.bin", flip, False, r"00002\.bin is not what was written"),
        ("images/00000.jsonl", cut, True, r"00000\.jsonl has"),
        ("images/00000.jsonl", flip, False, r"00000\.jsonl is not what was written"),
    ],
)
def test_damage_is_named(
    extraction: Extraction, tmp_path: Path, name: str, damage: Callable[[Path], None], opened: bool, told: str
) -> None:
    extraction.run(tmp_path)
    assert check_sums(tmp_path) > 0
    damage(tmp_path / name)
    with pytest.raises(BadStore, match=told):
        check_sums(tmp_path)
    if opened:
        with pytest.raises(BadStore, match=told):
            open_store(tmp_path, "block.1")
    else:
        open_store(tmp_path, "block.1")


def test_a_manifest_of_another_shape_is_refused(extraction: Extraction, tmp_path: Path) -> None:
    manifest = extraction.run(tmp_path)
    path = tmp_path / "manifest.json"
    told = json.loads(path.read_text())
    changes: tuple[dict[str, object], ...] = (
        {"images": manifest.images + 1},
        {"shards": told["shards"][:2]},
        {"plan": told["plan"] | {"parts": [told["plan"]["parts"][0] | {"folder": "../elsewhere"}]}},
        {"plan": told["plan"] | {"dtype": "fp16"}},
        {"plan": told["plan"] | {"schema": 2}},
        {"statistics": {}},
    )
    for change in changes:
        path.write_text(json.dumps(told | change))
        with pytest.raises(BadStore):
            open_store(tmp_path, "pooled")


@pytest.fixture(scope="module")
def whole(images: FolderImages, backbone: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    Extraction(images, backbone, WANTED).run(folder)
    return folder


@settings(max_examples=150)
@given(st.data())
def test_a_mutated_manifest_is_refused_or_means_the_same(whole: Path, data: st.DataObject) -> None:
    raw = bytearray((whole / "manifest.json").read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    mutated = whole.with_name("mutated")
    mutated.mkdir(exist_ok=True)
    for each in ("images", "shards", "block.1", "pooled"):
        if not (mutated / each).exists():
            (mutated / each).symlink_to(whole / each)
    (mutated / "manifest.json").write_bytes(raw)
    try:
        store = open_store(mutated, "block.1")
    except BadStore as error:
        assert "\n" not in str(error)
    else:
        assert store.rows == COUNT * 16 and store.width == WIDTH
        assert len(all_rows(store)) == store.rows


def test_what_is_no_store_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(BadStore, match="is no activation store"):
        open_store(tmp_path)


def test_a_manifest_reads_back_as_it_was_written(extraction: Extraction, tmp_path: Path) -> None:
    manifest: Manifest = extraction.run(tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert manifest.plan.backbone_fingerprint == extraction.backbone.fingerprint
