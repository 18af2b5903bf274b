"""Figures of hook points: each against a case whose answer is known, all on a real tiny backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sae.backbone import load_backbone
from sae.card import BackboneSpec
from sae.errors import BadImages
from sae.image_source import FolderImages
from sae.layer_quality import (
    LayerOptions,
    effective_rank,
    excess_kurtosis,
    measure_layers,
    purity,
    purity_by_chance,
    separability,
)
from tests.image_folders import write_images
from tests.tiny_models import write_open_clip


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_effective_rank_counts_directions() -> None:
    plane = normal(500, 3) @ torch.linalg.qr(normal(20, 20, seed=1))[0][:3]
    assert effective_rank(plane) == pytest.approx(3, rel=0.02)
    assert effective_rank(normal(4000, 20)) == pytest.approx(20, rel=0.02)
    assert effective_rank(normal(8, 40)) == pytest.approx(7, rel=0.15)
    assert effective_rank(torch.ones(9, 4)) == 0


def test_kurtosis_is_nought_for_normal_and_high_for_rare_values() -> None:
    assert abs(excess_kurtosis(normal(20_000, 4))) < 0.1
    assert excess_kurtosis((normal(20_000, 4) > 3).double()) > 100
    assert excess_kurtosis(torch.ones(9, 4)) == 0


def test_separability_is_one_for_points_and_nought_for_chance() -> None:
    classes = np.arange(400) % 4
    centres = normal(4, 6).numpy()
    assert separability(centres[classes], classes) == pytest.approx(1)
    found = separability(normal(400, 6).numpy(), classes)
    assert found is not None and abs(found) < 0.02
    assert separability(normal(4, 6).numpy(), np.arange(4)) is None


def test_purity_is_one_for_clusters_and_chance_for_noise() -> None:
    classes = np.arange(300) % 3
    tight = normal(3, 8).numpy()[classes] * 10 + normal(300, 8, seed=1).numpy() * 0.01
    assert purity(tight, classes) == 1
    assert purity_by_chance(classes) == pytest.approx(99 / 299)
    assert purity(normal(300, 8).numpy(), classes) == pytest.approx(99 / 299, abs=0.05)


def test_hook_points_are_measured_on_the_same_images(tmp_path: Path) -> None:
    write_open_clip(tmp_path / "clip")
    backbone = load_backbone(BackboneSpec(kind="open_clip", source=str(tmp_path / "clip")))
    images = FolderImages(write_images(tmp_path / "images", count=14, broken=(3,)))
    told: list[tuple[int, int]] = []
    options = LayerOptions(rows=30, batch_size=4)
    table = measure_layers(
        images,
        backbone,
        hook_points=("block.0", "block.2", "pooled"),
        options=options,
        told=lambda *at: told.append(at),
    )
    assert (table.images, table.skipped, table.classes) == (13, 1, 2)
    assert told[-1] == (14, 14)
    first, _, pooled = table.layers
    assert (first.hook_point, first.scope, first.tokens, first.rows) == ("block.0", "patch", 16, 39)
    assert (pooled.scope, pooled.tokens, pooled.rows) == ("pooled", 1, 13)
    # Bright and dark classes: the first block tells them.
    assert first.purity is not None and first.purity_by_chance is not None
    assert first.separability is not None and first.separability > 0.2
    assert 0 < first.effective_rank <= 16 and first.gamma is not None
    assert [(each.first, each.second) for each in table.alignment] == [
        ("block.0", "block.2"),
        ("block.0", "pooled"),
        ("block.2", "pooled"),
    ]
    assert all(each.cknna is not None for each in table.alignment)
    assert measure_layers(images, backbone, hook_points=("block.0",), options=options).layers == (first,)


def test_images_without_classes_have_no_class_figures(tmp_path: Path) -> None:
    write_open_clip(tmp_path / "clip")
    backbone = load_backbone(BackboneSpec(kind="open_clip", source=str(tmp_path / "clip")))
    one = FolderImages(write_images(tmp_path / "images", count=5, classes=1))
    table = measure_layers(one, backbone, hook_points=("pooled",))
    assert table.classes == 0 and table.layers[0].separability is None and table.layers[0].purity is None
    few = FolderImages(write_images(tmp_path / "few", count=3))
    with pytest.raises(BadImages, match="Only 3 images"):
        measure_layers(few, backbone, hook_points=("pooled",))
