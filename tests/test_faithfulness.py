"""Deletion and insertion: ends and areas of the curves, chance, and what a true and a false map come to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from sae.activations import FeatureReader
from sae.errors import SilentFeature
from sae.faithfulness import Areas, areas, compare, curves, filled, joined, random_areas
from sae.relevance.maps import Floats, map_subject
from sae.relevance.subject import Subject, subject_of
from sae.relevance.target import feature_target
from tests.tiny_backbones import tiny_backbone
from tests.tiny_dictionary import random_dictionary
from tests.tiny_models import PATCH, SIDE

GRID = SIDE // PATCH
IMAGES = 7


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Images of noise and a feature that is active on all of them."""
    dictionary = replace(random_dictionary(), architecture="relu", b_enc=torch.full((40,), 30.0))
    reader = FeatureReader(tiny_backbone("open_clip"), dictionary, "pooled", "none", batch_size=5)
    noise = torch.randn(IMAGES, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    pixels = functional.interpolate(noise, size=(SIDE, SIDE), mode="nearest")
    index = int(reader.encode(pixels).std(0).argmax())
    return subject_of(reader, pixels, target=feature_target(reader, index))


def test_curves_run_between_the_image_and_the_fill(subject: Subject) -> None:
    maps = map_subject(subject, "random")
    found = curves(subject, maps, steps=5)
    assert found.deletion.shape == found.insertion.shape == (IMAGES, 6)
    covered = subject.score(filled(subject.pixels, "mean")) / subject.score(subject.pixels)
    for start, end in ((found.deletion, found.insertion), (found.insertion, found.deletion)):
        assert start[:, 0] == pytest.approx(end[:, -1], rel=1e-4)
    assert found.deletion[:, 0] == pytest.approx(1, rel=1e-4)
    assert found.deletion[:, -1] == pytest.approx(covered.numpy(), rel=1e-3)


def test_a_step_covers_the_most_relevant_patches(subject: Subject) -> None:
    maps = np.arange(GRID * GRID, dtype=np.float32).reshape(1, GRID, GRID).repeat(IMAGES, 0)
    found = curves(subject, maps, steps=4)
    changed = subject.pixels.clone()
    fill = filled(subject.pixels, "mean")
    changed[:, :, 3 * PATCH :] = fill[:, :, 3 * PATCH :]
    expected = subject.score(changed) / subject.score(subject.pixels)
    assert found.deletion[:, 1] == pytest.approx(expected.numpy(), rel=1e-3)
    changed = fill.clone()
    changed[:, :, 3 * PATCH :] = subject.pixels[:, :, 3 * PATCH :]
    expected = subject.score(changed) / subject.score(subject.pixels)
    assert found.insertion[:, 1] == pytest.approx(expected.numpy(), rel=1e-3)


def test_a_map_turned_over_deletes_as_the_map_inserts(subject: Subject) -> None:
    maps = map_subject(subject, "random")
    one, other = curves(subject, maps), curves(subject, -maps)
    assert one.deletion == pytest.approx(other.insertion[:, ::-1], rel=1e-3)


def test_an_exact_map_beats_chance_and_its_opposite_loses(subject: Subject) -> None:
    """Greedy deletion by true losses: what occlusion measures, on a model whose loss is nearly additive."""
    maps = map_subject(subject, "occlusion")
    chance = random_areas(subject, draws=6)
    good = compare(areas(curves(subject, maps)), chance, seed=0)
    bad = compare(areas(curves(subject, -maps)), chance, seed=0)
    assert good.images == IMAGES
    assert good.deletion_gain.interval.low > 0 and good.insertion_gain.interval.low > 0
    assert bad.deletion_gain.interval.high < 0 and bad.insertion_gain.interval.high < 0
    assert good.deletion.interval.low <= good.deletion.value <= good.deletion.interval.high


def test_a_flat_map_is_chance(subject: Subject) -> None:
    flat: Floats = np.ones((IMAGES, GRID, GRID), np.float32)
    found = compare(areas(curves(subject, flat)), random_areas(subject, draws=6), seed=0)
    assert found.deletion_gain.interval.low < 0 < found.deletion_gain.interval.high


def test_chance_follows_the_seed(subject: Subject) -> None:
    first, again = random_areas(subject, draws=2), random_areas(subject, draws=2)
    other = random_areas(replace(subject, seed=5), draws=2)
    assert (first.deletion == again.deletion).all() and (first.deletion != other.deletion).any()


def test_a_silent_image_has_nothing_to_delete(subject: Subject) -> None:
    dictionary = replace(subject.reader.dictionary, b_enc=torch.full((40,), -1e6))
    mute = replace(subject, reader=replace(subject.reader, dictionary=dictionary))
    with pytest.raises(SilentFeature, match="score of image 0"):
        curves(mute, map_subject(mute, "random"))


def test_a_blurred_fill_keeps_the_light_of_places(subject: Subject) -> None:
    blurred = filled(subject.pixels, "blur")
    assert blurred.shape == subject.pixels.shape
    assert blurred.std((2, 3)).mean() > 0
    assert blurred.mean((2, 3)) == pytest.approx(subject.pixels.mean((2, 3)).numpy(), abs=0.05)
    assert (curves(subject, map_subject(subject, "random"), fill="blur").deletion[:, 0] > 0.99).all()


def test_areas_are_means_under_the_curve() -> None:
    from sae.faithfulness import Curves

    found = areas(Curves(np.array([[1.0, 0.5, 0.0]]), np.array([[0.0, 1.0, 1.0]])))
    assert found.deletion.tolist() == [0.5] and found.insertion.tolist() == [0.75]
    both = joined([found, Areas(np.array([0.1]), np.array([0.2]))])
    assert both.deletion.tolist() == [0.5, 0.1] and both.insertion.tolist() == [0.75, 0.2]


def test_pixels_need_not_divide_into_patches(tmp_path: Path, subject: Subject) -> None:
    odd = replace(subject, pixels=subject.pixels[:2, :, :30, :30])
    from sae.relevance.perturbation import cover

    masks = cover(torch.eye(GRID * GRID, dtype=torch.bool), odd)
    assert masks.shape == (GRID * GRID, 1, 30, 30) and (masks.sum(0) == 1).all()
