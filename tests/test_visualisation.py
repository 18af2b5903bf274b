"""Images made for a feature: spectra, colours, shaking, and a search that gets somewhere on tiny models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sae.activations import FeatureReader
from sae.canvas import Canvas, Shaking, palette_of, pictures
from sae.errors import BadDictionary
from sae.pooling import Pooling
from sae.visualisation import Search, Visualised, strip, visualise
from tests.measured_models import plain, random_topk
from tests.tiny_backbones import hooks_left, tiny_backbone
from tests.tiny_models import SIDE, WIDTH, WRITERS

CPU = torch.device("cpu")


def reader_of(name: str = "clip", *, hook_point: str = "block.1", pooling: Pooling = "max") -> FeatureReader:
    return FeatureReader(tiny_backbone(name), random_topk(), hook_point, pooling, batch_size=3)


@pytest.mark.parametrize("size", [(8, 8), (7, 12), (9, 5)])
def test_a_canvas_begins_grey_and_fills_its_size(size: tuple[int, int]) -> None:
    canvas = Canvas([0, 1], *size, device=CPU)
    levels = canvas.levels()
    assert levels.shape == (2, 3, *size) and levels.min() > 0 and levels.max() < 1
    assert (levels - 0.5).abs().max() < 0.2 and not torch.equal(levels[0], levels[1])


def test_a_canvas_depends_on_its_own_seed_alone() -> None:
    together, alone = Canvas([3, 8], 8, 8, device=CPU), Canvas([8], 8, 8, device=CPU)
    assert torch.equal(together.levels()[1], alone.levels()[0])
    shaking = Shaking()
    shaken = together.shaken(together.levels(), shaking)[1]
    assert torch.allclose(shaken, alone.shaken(alone.levels(), shaking)[0], atol=1e-6)


def test_slow_waves_weigh_more_than_fast_ones() -> None:
    canvas = Canvas([0], 16, 16, device=CPU)
    canvas.spectrum.data.zero_()
    strengths = []
    for column in (1, 4):
        canvas.spectrum.data.zero_()
        canvas.spectrum.data[0, 0, 0, column, 0] = 0.1
        strengths.append(float((canvas.levels().detach() - 0.5).square().mean().sqrt()))
    assert strengths[0] == pytest.approx(4 * strengths[1], rel=0.05)


def test_shaking_by_nothing_moves_nothing_and_by_something_does() -> None:
    levels = torch.rand(3, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    canvas = Canvas([0, 1, 2], 9, 9, device=CPU)
    still = canvas.shaken(levels, Shaking(jitter=0, scale=0, rotation=0))
    assert torch.allclose(still, levels, atol=1e-5)
    moved = canvas.shaken(levels, Shaking())
    assert moved.shape == levels.shape and (moved - levels).abs().mean() > 0.01
    flat = canvas.shaken(torch.full_like(levels, 0.3), Shaking(jitter=0.4, scale=0.5, rotation=45))
    assert torch.allclose(flat, torch.full_like(levels, 0.3), atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip", "open_clip", "timm", "torchvision"])
def test_the_palette_is_the_models_own_preprocessing(name: str) -> None:
    preprocess = tiny_backbone(name).preprocess
    grey = np.random.default_rng(0).integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8)
    levels = torch.from_numpy(grey / np.float32(255)).permute(2, 0, 1)[None]
    assert torch.allclose(
        palette_of(preprocess).pixels(levels), preprocess([Image.fromarray(grey)]), atol=2e-2
    )
    assert np.array_equal(np.asarray(pictures(levels)[0]), grey)


@pytest.mark.parametrize(
    ("name", "hook_point", "pooling"),
    [
        ("clip", "block.1", "max"),
        pytest.param("dinov2-registers", "block.2", "cls", marks=pytest.mark.slow),
        pytest.param("timm", "block.0", "mean", marks=pytest.mark.slow),
    ],
)
def test_an_image_is_found_on_which_the_feature_is_active(
    name: str, hook_point: str, pooling: Pooling
) -> None:
    reader = reader_of(name, hook_point=hook_point, pooling=pooling)
    steps: list[int] = []
    found = visualise(reader, 5, search=Search(steps=8, seeds=(4, 1), rate=0.05), log=steps.append)
    assert steps == list(range(1, 9)) and {each.seed for each in found} == {1, 4}
    assert found[0].activation >= found[1].activation
    for each in found:
        assert each.activation > each.started and 0 < each.share <= 1
        assert each.image.size == (SIDE, SIDE)
        pixels = palette_of(reader.backbone.preprocess).pixels(
            torch.from_numpy(np.asarray(each.image) / np.float32(255)).permute(2, 0, 1)[None]
        )
        codes = reader.read_pixels(pixels)[0]
        assert codes[5] == pytest.approx(each.activation, rel=1e-3)
        assert codes[5] / np.linalg.norm(codes) == pytest.approx(each.share, rel=1e-3)
    assert hooks_left(tiny_backbone(name)) == 0


def test_a_feature_that_is_silent_at_first_is_woken() -> None:
    reader = reader_of()
    bias = torch.zeros(reader.dictionary.n_features)
    bias[5] = -float(reader.dictionary.W_enc[:, 5].norm()) * WIDTH**0.5 / 4
    quiet = replace(reader, dictionary=replace(reader.dictionary, b_enc=bias))
    found = visualise(quiet, 5, search=Search(steps=25, rate=0.05))[0]
    assert found.started == 0 and found.activation > 0


def test_pressing_the_others_leaves_less_of_them() -> None:
    encoder = torch.randn(WIDTH, 24, generator=torch.Generator().manual_seed(0))
    reader = replace(reader_of(pooling="cls"), dictionary=plain("relu", encoder, encoder.T))
    free, pressed = (
        visualise(reader, 5, search=Search(steps=12, press=press, rate=0.05))[0] for press in (0.0, 2.0)
    )
    assert others(pressed) < 0.9 * others(free)


def others(found: Visualised) -> float:
    """Length of what all other features do."""
    whole = found.activation / found.share
    return float((whole**2 - found.activation**2) ** 0.5)


def test_a_seed_gives_the_same_image_again_and_alone() -> None:
    search = Search(steps=4, seeds=(7,))
    first, second = (visualise(reader_of(), 5, search=search)[0] for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    beside = visualise(reader_of(), 5, search=replace(search, seeds=(0, 7)))
    image = np.asarray(next(each.image for each in beside if each.seed == 7), np.int16)
    assert np.abs(image - np.asarray(first.image, np.int16)).max() <= 2


def test_a_feature_that_is_not_there_is_said_so() -> None:
    with pytest.raises(BadDictionary, match="Feature 24 is not in this dictionary; it has 0 to 23"):
        visualise(reader_of(), 24)


def test_a_strip_shows_every_picture_large_enough() -> None:
    sheet = strip([Image.new("RGB", (20, 30), "red"), Image.new("RGB", (20, 30), "blue")], side=100, gap=4)
    assert sheet.size == (204, 150)
    assert sheet.getpixel((50, 75)) == (255, 0, 0) and sheet.getpixel((150, 75)) == (0, 0, 255)
    assert sheet.getpixel((101, 75)) == (255, 255, 255)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"siglip2"}))
def test_every_transformer_passes_gradients_to_the_canvas(name: str) -> None:
    # Shaken images are another goal, which 20 steps on random weights may miss.
    still = Search(steps=20, press=0.0, rate=0.05, shaking=Shaking(jitter=0, scale=0, rotation=0))
    found = visualise(reader_of(name), 3, search=still)[0]
    assert found.activation > found.started
