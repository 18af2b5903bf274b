"""Maps of relevance on tiny models of every library: shapes, formulas, and which methods fit what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sae.activations import FeatureReader
from sae.attention import record_attention
from sae.backbone import load_backbone
from sae.card import BackboneSpec
from sae.dictionary import SparseDictionary
from sae.errors import BadDictionary, NoAttention, NoTextTower, SilentFeature, UnfitMethod
from sae.pooling import Pooling
from sae.relevance.maps import METHODS, fitting_method, map_subject, relevance, relevance_maps, upsample
from sae.relevance.overlay import hot, overlay, seen
from sae.relevance.subject import Subject, subject_of
from sae.relevance.target import Target, feature_target, word_target
from tests.measured_models import plain
from tests.tiny_models import PATCH, SIDE, WRITERS, write_timm

GRID = SIDE // PATCH
ATTENTIVE = ("chefer", "chefer-rows", "rollout")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for name in ("open_clip", "timm", "clip", "siglip", "vit", "dinov2-registers"):
        WRITERS[name][1](root / name)
    return root


def reader_of(
    folder: Path, *, kind: str, hook_point: str = "pooled", pooling: Pooling = "none"
) -> FeatureReader:
    """A reader with a ReLU dictionary nobody trained, as wide as the hook point."""
    backbone = load_backbone(BackboneSpec(kind=kind, source=str(folder)))
    pixels = backbone.preprocess([picture()])
    width = backbone.activations(pixels, [hook_point])[hook_point].shape[-1]
    return FeatureReader(backbone, dictionary(width), hook_point, pooling, batch_size=3)


def dictionary(width: int, *, features: int = 12) -> SparseDictionary:
    encoder = torch.randn(width, features, generator=torch.Generator().manual_seed(0))
    return plain("relu", encoder, encoder.T)


def picture(seed: int = 0) -> Image.Image:
    colour = np.random.default_rng(seed).integers(256, size=(4, 4, 3), dtype=np.uint8)
    return Image.fromarray(colour).resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def pixels_of(reader: FeatureReader, *, count: int = 2) -> Tensor:
    return reader.backbone.preprocess([picture(seed) for seed in range(count)])


def active_feature(reader: FeatureReader, pixels: Tensor) -> int:
    return int(reader.encode(pixels).amin(0).argmax())


@pytest.mark.parametrize("name", ["open_clip", "timm", "clip", "siglip", "vit", "dinov2-registers"])
def test_every_method_maps_every_kind_of_transformer(folders: Path, name: str) -> None:
    reader = reader_of(folders / name, kind=WRITERS[name][0])
    pixels = pixels_of(reader)
    target = feature_target(reader, active_feature(reader, pixels))
    for method in METHODS.keys() - {"activation"}:
        maps = relevance_maps(reader, pixels, target=target, method=method)
        assert maps.shape == (2, GRID, GRID) and np.isfinite(maps).all() and maps.any()
        assert maps.dtype == np.float32


@pytest.mark.parametrize("pooling", ["cls", "max", "mean", "top-p"])
def test_every_method_maps_dictionaries_on_blocks(folders: Path, pooling: Pooling) -> None:
    reader = reader_of(folders / "open_clip", kind="open_clip", hook_point="block.1", pooling=pooling)
    pixels = pixels_of(reader, count=4)
    target = feature_target(reader, active_feature(reader, pixels))
    assert fitting_method(reader) == ("chefer-rows" if pooling == "cls" else "activation")
    for method in METHODS.keys() - ({"activation"} if pooling == "cls" else set()):
        maps = relevance_maps(reader, pixels, target=target, method=method)
        assert maps.shape == (4, GRID, GRID) and np.isfinite(maps).all()


def test_a_map_is_the_same_alone_and_in_a_batch(folders: Path) -> None:
    reader = reader_of(folders / "clip", kind="transformers")
    pixels = pixels_of(reader, count=4)
    target = feature_target(reader, active_feature(reader, pixels))
    for method in (*ATTENTIVE, "gradient-input", "occlusion"):
        together = relevance_maps(reader, pixels, target=target, method=method)
        alone = relevance(reader, picture(2), target, method)
        assert together[2] == pytest.approx(alone, rel=1e-3, abs=1e-6)


def recorded(subject: Subject) -> tuple[list[Tensor], list[Tensor]]:
    """Attention of the blocks and the score's gradients to it."""
    with record_attention(subject.backbone.blocks) as found:
        _, score = subject.with_graph()
    return list(found.maps), list(torch.autograd.grad(score.sum(), found.maps))


def subject_on_clip(folders: Path, count: int = 1) -> Subject:
    reader = reader_of(folders / "open_clip", kind="open_clip")
    pixels = pixels_of(reader, count=count)
    return subject_of(reader, pixels, target=feature_target(reader, active_feature(reader, pixels)))


@pytest.mark.parametrize("shares", [False, True])
def test_chefer_is_the_published_sum_over_paths(folders: Path, shares: bool) -> None:
    subject = subject_on_clip(folders)
    relevance_to = torch.eye(1 + GRID**2)
    for attention, gradient in zip(*recorded(subject), strict=True):
        product = torch.stack([(a * g).clamp(min=0) for a, g in zip(attention[0], gradient[0], strict=True)])
        averaged = product.mean(0)
        if shares:
            totals = averaged.sum(-1, keepdim=True)
            averaged = torch.where(totals > 0, averaged / totals, 0)
        relevance_to = relevance_to + averaged @ relevance_to
    expected = relevance_to[0, 1:].detach().view(GRID, GRID).numpy()
    assert map_subject(subject, "chefer-rows" if shares else "chefer")[0] == pytest.approx(expected, rel=1e-4)


def test_rollout_averages_heads_before_the_product(folders: Path) -> None:
    subject = subject_on_clip(folders)
    n = 1 + GRID**2
    relevance_to = np.eye(n)
    for attention, gradient in zip(*recorded(subject), strict=True):
        cam = (attention[0].mean(0) * gradient[0].mean(0)).clamp(min=0).detach().double().numpy()
        lowest = np.argsort(cam, axis=None)[: cam.size - round(0.1 * cam.size)]
        cam.ravel()[lowest] = 0
        cam += np.eye(n)
        relevance_to = cam / cam.sum(1, keepdims=True) @ relevance_to
    expected = relevance_to[0, 1:].reshape(GRID, GRID)
    assert map_subject(subject, "rollout")[0] == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_gradient_input_is_the_change_along_the_image(folders: Path) -> None:
    subject = subject_on_clip(folders)
    pixels, score = subject.with_graph()
    (gradient,) = torch.autograd.grad(score.sum(), pixels)
    per_pixel = (gradient * pixels).sum(1)[0].abs().detach().numpy()
    expected = per_pixel.reshape(GRID, PATCH, GRID, PATCH).mean((1, 3))
    assert map_subject(subject, "gradient-input")[0] == pytest.approx(expected, rel=1e-4)


def test_occlusion_is_what_the_score_loses(folders: Path) -> None:
    subject = subject_on_clip(folders, count=2)
    covered = subject.pixels.clone()
    covered[1, :, PATCH : 2 * PATCH, 2 * PATCH : 3 * PATCH] = covered[1].mean((1, 2))[:, None, None]
    lost = subject.score(subject.pixels)[1] - subject.score(covered)[1]
    assert map_subject(subject, "occlusion")[1, 1, 2] == pytest.approx(float(lost), abs=1e-4)


def test_activation_is_the_codes_of_the_patches(folders: Path) -> None:
    reader = reader_of(folders / "dinov2-registers", kind="transformers", hook_point="block.1", pooling="max")
    pixels = pixels_of(reader)
    codes = reader.dictionary.encode(reader.inputs(pixels)).view(2, GRID, GRID, -1)
    maps = relevance_maps(reader, pixels, target=feature_target(reader, 3), method="activation")
    assert maps == pytest.approx(codes[..., 3].numpy(), abs=1e-5)
    assert maps.max((1, 2)) == pytest.approx(reader.encode(pixels)[:, 3].numpy(), abs=1e-5)


def test_the_class_token_alone_is_asked_where_it_alone_is_read(folders: Path) -> None:
    """The last block's attention of patches has no gradient there, so no map can depend on it."""
    subject = subject_on_clip(folders)
    _, gradients = recorded(subject)
    assert gradients[-1][:, :, 0].abs().sum() > 0 and gradients[-1][:, :, 1:].abs().max() == 0


def test_activation_needs_patches(folders: Path) -> None:
    reader = reader_of(folders / "open_clip", kind="open_clip")
    with pytest.raises(UnfitMethod, match="one vector an image"):
        relevance(reader, picture(), feature_target(reader, 0), "activation")


def test_networks_without_attention_have_the_other_methods(tmp_path: Path) -> None:
    write_timm(tmp_path, architecture="convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16))
    reader = reader_of(tmp_path, kind="timm")
    pixels = pixels_of(reader)
    target = feature_target(reader, active_feature(reader, pixels))
    for method in ("gradient-input", "occlusion", "random"):
        assert relevance_maps(reader, pixels, target=target, method=method).ndim == 3
    with pytest.raises(NoAttention):
        relevance_maps(reader, pixels, target=target, method="chefer")


def test_a_silent_feature_is_said_so(folders: Path) -> None:
    reader = reader_of(folders / "open_clip", kind="open_clip")
    mute = replace(reader, dictionary=replace(reader.dictionary, b_enc=torch.full((12,), -1e6)))
    with pytest.raises(SilentFeature, match="not active on this image"):
        relevance(mute, picture(), feature_target(mute, 0), "chefer")
    for method in METHODS.keys() - {"activation", "random"}:
        flat = relevance_maps(mute, pixels_of(mute), target=feature_target(mute, 0), method=method)
        assert not flat.any()


def test_methods_and_features_that_do_not_exist_are_named(folders: Path) -> None:
    reader = reader_of(folders / "open_clip", kind="open_clip")
    pixels = pixels_of(reader)
    with pytest.raises(UnfitMethod, match="there are activation, chefer"):
        relevance_maps(reader, pixels, target=feature_target(reader, 0), method="lrp")
    with pytest.raises(BadDictionary, match="0 to 11"):
        feature_target(reader, 12)


def test_random_maps_follow_the_seed(folders: Path) -> None:
    reader = reader_of(folders / "open_clip", kind="open_clip")
    target, pixels = feature_target(reader, 0), pixels_of(reader)
    first, again, other = (
        relevance_maps(reader, pixels, target=target, method="random", seed=seed) for seed in (1, 1, 2)
    )
    assert (first == again).all() and (first != other).any()


def test_a_word_is_its_nearest_features(folders: Path) -> None:
    reader = reader_of(folders / "open_clip", kind="open_clip")
    words = ("fish", "bird", "car")
    target = word_target(reader, "fish", among=words, template="{}", keep=2)
    texts = torch.nn.functional.normalize(reader.backbone.encode_text(["fish", "bird", "car"]), dim=-1)
    centred = torch.nn.functional.normalize(texts[0] - texts.mean(0), dim=-1)
    unit = torch.nn.functional.normalize(reader.dictionary.W_dec, dim=-1)
    assert target.weights.numpy() == pytest.approx((unit @ centred).clamp(min=0).numpy(), abs=1e-5)
    codes = reader.encode(pixels_of(reader))
    products = np.sort((codes * target.weights).numpy(), axis=1)
    assert target.score(codes).numpy() == pytest.approx(products[:, -2:].sum(1), rel=1e-5)
    assert relevance(reader, picture(), target, "chefer-rows").any()


def test_a_word_needs_a_space_of_words(folders: Path) -> None:
    with pytest.raises(NoTextTower):
        word_target(reader_of(folders / "timm", kind="timm"), "fish")
    block = reader_of(folders / "open_clip", kind="open_clip", hook_point="block.1", pooling="max")
    with pytest.raises(UnfitMethod, match="space of texts"):
        word_target(block, "fish")


def test_a_weighted_target_is_a_sum() -> None:
    codes = torch.tensor([[1.0, 0.0, 2.0], [3.0, 1.0, 0.0]])
    target = Target(torch.tensor([1.0, 5.0, 2.0]))
    assert target.score(codes).tolist() == [5.0, 8.0]
    assert target._replace(keep=1).score(codes).tolist() == [4.0, 5.0]


def test_upsampling_keeps_places() -> None:
    maps: Any = np.zeros((2, 4, 4), np.float32)
    maps[0, 1, 2] = maps[1, 3, 0] = 1
    wide = upsample(maps, (60, 40))
    assert wide.shape == (2, 40, 60)
    assert np.unravel_index(wide[0].argmax(), (40, 60)) == (14, 37)
    assert upsample(maps[1], (8, 8)).shape == (8, 8)


def test_an_overlay_is_half_the_picture_and_half_the_map() -> None:
    plain = Image.new("RGB", (448, 448), (200, 100, 0))
    maps = np.zeros((4, 4), np.float32)
    maps[0, 0] = 1
    laid = overlay(plain, maps)
    assert laid.size == (448, 448)
    assert laid.getpixel((0, 0)) == (227, 177, 127) and laid.getpixel((447, 447)) == (100, 50, 0)
    assert overlay(plain.resize((32, 64)), maps).size == (448, 896)
    ramp = hot(np.linspace(0, 1, 5, dtype=np.float32)[None])
    assert ramp.getpixel((0, 0)) == (0, 0, 0) and ramp.getpixel((4, 0)) == (255, 255, 255)
    assert hot(np.zeros((2, 2), np.float32)).getextrema() == ((0, 0), (0, 0), (0, 0))


def test_what_the_model_sees_is_shown_in_the_pictures_colours(folders: Path) -> None:
    backbone = load_backbone(BackboneSpec(kind="transformers", source=str(folders / "clip")))
    wide = Image.new("RGB", (96, 32), "red")
    wide.paste((10, 200, 90), (32, 0, 64, 32))
    view = seen(backbone.preprocess, wide)
    assert view.size == (SIDE, SIDE)
    assert np.abs(np.asarray(view)[4:-4, 4:-4].astype(int) - (10, 200, 90)).max() <= 1
