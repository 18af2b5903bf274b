from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.nn import functional

from sae.attention import record_attention
from sae.backbone import HookedBackbone, load_backbone
from sae.card import BackboneSpec
from sae.errors import NoAttention
from tests.tiny_backbones import hooks_left, pixels, tiny_backbone, tiny_folder
from tests.tiny_models import WRITERS, write_open_clip


def recorded(backbone: HookedBackbone, x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    with record_attention(backbone.blocks) as attention:
        pooled = backbone.differentiable(x, ["pooled"])["pooled"]
        return attention.maps, pooled


@pytest.mark.parametrize("name", WRITERS)
def test_every_block_has_probabilities_with_gradients(name: str) -> None:
    backbone, x = tiny_backbone(name), pixels(3)
    before = backbone.activations(x, ["pooled"])["pooled"]
    maps, pooled = recorded(backbone, x)
    p = backbone.n_prefix_tokens + 16
    assert [tuple(each.shape) for each in maps] == [(3, 2, p, p)] * 3
    for each in maps:
        torch.testing.assert_close(each.sum(-1), torch.ones(3, 2, p))
    torch.testing.assert_close(pooled, before, rtol=1e-4, atol=1e-5)
    grads = torch.autograd.grad(pooled[:, 0].sum(), maps)
    assert all(grad.abs().sum() > 0 for grad in grads)
    assert hooks_left(backbone) == 0
    assert torch.equal(backbone.activations(x, ["pooled"])["pooled"], before), "nothing is left behind"


@pytest.mark.parametrize("name", ["clip", "siglip", "vit", "dinov2-registers", "dinov3"])
def test_probabilities_are_those_of_transformers_eager_attention(name: str) -> None:
    backbone, x = tiny_backbone(name), pixels(2)
    eager = transformers.AutoModel.from_pretrained(tiny_folder(name), attn_implementation="eager").eval()
    vision = getattr(eager, "vision_model", eager)
    with torch.no_grad():
        expected = vision(pixel_values=x, output_attentions=True).attentions
    maps, _ = recorded(backbone, x)
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_first", [True, False])
def test_probabilities_are_those_of_torchs_attention(batch_first: bool, tmp_path: Path) -> None:
    write_open_clip(tmp_path)
    backbone = load_backbone(BackboneSpec(kind="open_clip", source=str(tmp_path)))
    blocks: list[Any] = list(backbone.blocks)
    stack: Any = backbone.tower.model.get_submodule("visual.transformer")
    stack.batch_first = batch_first
    for block in blocks:
        block.attn.batch_first = batch_first
    x = pixels(3)
    held = backbone.activations(x, ["block.0"])["block.0"]
    read = blocks[1].ln_1(held if batch_first else held.transpose(0, 1))
    _, expected = blocks[1].attn(read, read, read, need_weights=True, average_attn_weights=False)
    torch.testing.assert_close(recorded(backbone, x)[0][1], expected, rtol=1e-4, atol=1e-6)


def test_fused_and_plain_attention_record_the_same() -> None:
    backbone, x = tiny_backbone("timm"), pixels(2)
    blocks: list[Any] = list(backbone.blocks)
    assert blocks[0].attn.fused_attn, "else this test shows nothing"
    fused, pooled = recorded(backbone, x)
    fused_grads = torch.autograd.grad(pooled[:, 0].sum(), fused)
    try:
        for block in blocks:
            block.attn.fused_attn = False
        plain, pooled = recorded(backbone, x)
        plain_grads = torch.autograd.grad(pooled[:, 0].sum(), plain)
    finally:
        for block in blocks:
            block.attn.fused_attn = True
    for one, other in zip((*fused, *fused_grads), (*plain, *plain_grads), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_feature_of_a_block_has_gradients_in_the_blocks_before() -> None:
    backbone, x = tiny_backbone("clip"), pixels(2).requires_grad_()
    with record_attention(backbone.blocks) as attention:
        held = backbone.differentiable(x, ["block.1"])["block.1"]
    assert len(attention.maps) == 2, "the pass ends after the block"
    grads = torch.autograd.grad(held[:, 1:, 3].sum(), attention.maps)
    assert all(grad.abs().sum() > 0 for grad in grads)


def test_the_latest_pass_is_what_is_kept() -> None:
    backbone = tiny_backbone("vit")
    with record_attention(backbone.blocks) as attention:
        backbone.activations(pixels(2), ["pooled"])
        backbone.activations(pixels(5, seed=1), ["pooled"])
    assert {len(each) for each in attention.maps} == {5}
    assert not any(each.requires_grad for each in attention.maps)


@pytest.mark.parametrize("name", ["torchvision-resnet", "torchvision-swin", "timm-swin", "swin"])
def test_windows_and_convolutions_have_no_map(name: str) -> None:
    backbone = tiny_backbone(name)
    with record_attention(backbone.blocks) as attention:
        with pytest.raises(NoAttention, match="no block ran"):
            _ = attention.maps
        backbone.activations(pixels(3), ["pooled"])
    with pytest.raises(NoAttention, match=r"block\.0 attends to no sequence of all tokens"):
        _ = attention.maps


def test_recording_ends_with_its_block() -> None:
    backbone = tiny_backbone("open_clip")
    with pytest.raises(ZeroDivisionError), record_attention(backbone.blocks):
        raise ZeroDivisionError
    assert hooks_left(backbone) == 0
    q = torch.randn(1, 2, 4, 8)
    assert functional.scaled_dot_product_attention(q, q, q).shape == q.shape
