"""Steering on tiny models: only what is edited changes, where it is edited, and the words that follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sae.activations import FeatureReader
from sae.dictionary import SparseDictionary
from sae.edit import Edit, Mode
from sae.errors import BadDictionary, SilentFeature, UnfitMethod, WrongTokens
from sae.layer_norm import LayerNorm
from sae.measures.heads import logit_scale
from sae.pooling import Pooling
from sae.steering import (
    Steering,
    edit_codes,
    outcomes,
    patch_of,
    steer,
    steer_activations,
    strength,
    word_head,
)
from tests.measured_models import lossless, plain, random_topk
from tests.tiny_backbones import hooks_left, pixels, tiny_backbone
from tests.tiny_models import WIDTH

ALL: tuple[Mode, ...] = ("add", "clamp", "scale", "ablate")


def reader_of(
    name: str = "clip",
    *,
    hook_point: str = "block.1",
    pooling: Pooling = "max",
    of: SparseDictionary | None = None,
) -> FeatureReader:
    return FeatureReader(tiny_backbone(name), of or random_topk(), hook_point, pooling, batch_size=3)


def pooled_reader(name: str = "clip") -> FeatureReader:
    """On the image embedding, with every feature active or not by its sign."""
    backbone = tiny_backbone(name)
    width = backbone.activations(pixels(1), ["pooled"])["pooled"].shape[-1]
    encoder = torch.randn(width, 30, generator=torch.Generator().manual_seed(0))
    return FeatureReader(backbone, plain("relu", encoder, encoder.T / width), "pooled", "none")


def test_edits_do_what_they_say_and_leave_the_rest() -> None:
    codes = torch.tensor([[1.0, 2.0, 3.0], [0.0, 4.0, 0.0]])
    edited = edit_codes(codes, [Edit(0, "add", 5), Edit(1, "scale", 0.5), Edit(2, "clamp", 7)])
    assert edited.tolist() == [[6.0, 1.0, 7.0], [5.0, 2.0, 7.0]]
    assert edit_codes(codes, [Edit(1, "add", 1), Edit(1, "ablate", 9)]).tolist() == [[1, 0, 3], [0, 0, 0]]
    assert codes[0, 0] == 1
    with pytest.raises(BadDictionary, match="Feature 3 is not in this dictionary; it has 0 to 2"):
        edit_codes(codes, [Edit(3, "ablate")])


def test_strength_is_a_percentile_of_what_is_active() -> None:
    activations = np.concatenate([np.zeros(900), np.arange(1, 102)])
    assert strength(activations, 50) == 51
    assert strength(activations, 99) == 100
    assert strength(-activations, 0) == -101
    with pytest.raises(SilentFeature):
        strength(np.zeros(4), 50)
    with pytest.raises(ValueError, match="101"):
        strength(activations, 101)


def test_the_change_is_the_edit_times_the_direction() -> None:
    dictionary = replace(random_topk(), scale=torch.tensor(2.0), mean=torch.full((WIDTH,), 0.3))
    x = torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(1))
    moved = steer_activations(dictionary, x, [Edit(4, "add", 3.0)]) - x
    assert torch.allclose(moved, (3.0 * dictionary.W_dec[4] / 2).expand_as(x), atol=1e-5)


def test_the_change_goes_through_statistics_of_the_activation() -> None:
    norm = LayerNorm(eps=1e-5, ddof=0, eps_inside_root=True, inverted=True)
    dictionary = replace(random_topk(), input_norm=norm)
    x = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1)) * 4
    moved = steer_activations(dictionary, x, [Edit(4, "add", 3.0)]) - x
    deviation = x.std(-1, correction=0, keepdim=True)
    assert torch.allclose(moved, deviation * 3.0 * dictionary.W_dec[4], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("edit", [Edit(0, "scale", 1.0), Edit(0, "add", 0.0)])
@pytest.mark.parametrize("pooling", ["max", "cls"])
def test_an_edit_that_changes_nothing_changes_no_bit(edit: Edit, pooling: Pooling) -> None:
    reader = reader_of(pooling=pooling)
    images = pixels(4)
    plainly = reader.backbone.activations(images, ["pooled"])["pooled"]
    assert torch.equal(steer(reader, images, Steering((edit,)))["pooled"], plainly)
    assert hooks_left(tiny_backbone("clip")) == 0


@pytest.mark.parametrize("mode", ALL)
@pytest.mark.parametrize("pooling", ["max", "cls"])
def test_only_the_tokens_that_are_read_are_edited(mode: Mode, pooling: Pooling) -> None:
    reader = reader_of(pooling=pooling, of=lossless())
    edit = Edit(3, mode, 2.5)
    held, steered = both(reader, pixels(4), Steering((edit,)))
    read, other = (slice(1, None), slice(0, 1)) if pooling == "max" else (slice(0, 1), slice(1, None))
    assert torch.equal(held[:, other], steered[:, other])
    expected = steer_activations(reader.dictionary, held[:, read], [edit])
    assert torch.allclose(steered[:, read], expected) and not torch.equal(expected, held[:, read])
    assert torch.equal(steered[..., 4:], held[..., 4:])


def test_chosen_patches_alone_are_edited() -> None:
    reader = reader_of(of=lossless())
    chosen = torch.zeros(16, dtype=torch.bool)
    chosen[[2, 9]] = True
    held, steered = both(reader, pixels(3), Steering((Edit(3, "add", 2.0),), chosen))
    changed = (held != steered).any(-1)
    assert changed[:, 1:].equal(chosen.expand(3, 16)) and not changed[:, 0].any()
    with pytest.raises(WrongTokens, match="among 4 patches"):
        steer(reader, pixels(3), Steering((Edit(3, "add", 2.0),), chosen[:4]))


def both(reader: FeatureReader, images: Tensor, steering: Steering) -> tuple[Tensor, Tensor]:
    """What the hook point holds in both passes."""
    backbone, point = tiny_backbone("clip"), reader.hook_point
    held = backbone.activations(images, [point])[point]
    return held, backbone.patched(images, [patch_of(reader, steering)], read=[point])[point]


def test_outcomes_tell_the_features_and_the_words() -> None:
    reader = pooled_reader()
    images = pixels(5)
    head = word_head(reader, ["fish", "red bird", "cup"], template="a {}", pixels=images)
    steering = Steering((Edit(2, "ablate"), Edit(5, "add", 4.0)))
    found = outcomes(reader, images, steering, head=head)
    assert len(found) == 5
    codes = reader.read_pixels(images)
    x = reader.inputs(images)
    now = steer_activations(reader.dictionary, x, steering.edits)
    again = reader.dictionary.encode(now)
    texts = torch.nn.functional.normalize(
        reader.backbone.encode_text(["a fish", "a red bird", "a cup"]), dim=-1
    )
    scale = logit_scale(tiny_backbone("clip"))
    for at, each in enumerate(found):
        assert each.before == pytest.approx((codes[at, 2], codes[at, 5]), abs=1e-5)
        assert each.after == pytest.approx(again[at, [2, 5]].tolist(), abs=1e-5)
        assert each.moved == pytest.approx(float((now - x)[at].norm() / x[at].norm()), rel=1e-4)
        expected = (scale * torch.nn.functional.normalize(now[at], dim=-1) @ texts.T).softmax(-1)
        assert [shift.word for shift in each.shifts] == ["fish", "red bird", "cup"]
        assert [shift.after for shift in each.shifts] == pytest.approx(expected.tolist(), abs=1e-5)
        assert sum(shift.before for shift in each.shifts) == pytest.approx(1, abs=1e-5)


def test_steering_towards_a_word_makes_it_likelier() -> None:
    backbone = tiny_backbone("clip")
    words = ["fish", "bird", "cup"]
    texts = torch.nn.functional.normalize(backbone.encode_text(words), dim=-1)
    # Each direction lies on its own word and on no other.
    towards = plain("relu", texts.T.contiguous(), torch.linalg.pinv(texts).T)
    reader = FeatureReader(backbone, towards, "pooled", "none")
    head = word_head(reader, words, template="{}", pixels=pixels(1))
    for at in range(3):
        each = outcomes(reader, pixels(1), Steering((Edit(at, "add", 50.0),)), head=head)[0]
        assert each.shifts[at].after > each.shifts[at].before
        assert max(each.shifts, key=lambda shift: shift.after).word == words[at]


def test_a_classifier_tells_its_own_classes() -> None:
    reader = reader_of("torchvision", hook_point="block.1", pooling="max")
    images = pixels(2)
    head = word_head(reader, (), template="{}", pixels=images)
    each = outcomes(reader, images, Steering((Edit(0, "add", 5.0),)), head=head)[1]
    assert [shift.word for shift in each.shifts] == [f"class {at}" for at in range(5)]
    assert sum(shift.after for shift in each.shifts) == pytest.approx(1, abs=1e-5)
    assert any(shift.after != shift.before for shift in each.shifts)


def test_a_model_without_words_and_classes_is_refused_in_a_sentence() -> None:
    reader = reader_of("dinov2")
    with pytest.raises(UnfitMethod, match="neither words nor classes"):
        word_head(reader, ("fish", "bird"), template="{}", pixels=pixels(1))
    assert outcomes(reader, pixels(1), Steering((Edit(0, "ablate"),)))[0].shifts == ()
