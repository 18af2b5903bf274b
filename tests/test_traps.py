"""What has made other people's dictionaries silently wrong, one test each."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.nn import functional

from sae.activations import FeatureReader
from sae.attention import record_attention
from sae.backbone import load_backbone
from sae.backbone_transformers import _projected
from sae.card import BackboneSpec
from sae.errors import BadDictionary, BadModel, UnknownHookPoint
from sae.hook_point import block_name
from sae.hooks import find_blocks
from sae.layer_norm import LayerNorm
from tests.measured_models import plain
from tests.test_forward_with import tuple_backbone
from tests.tiny_backbones import pixels, tiny_backbone, tiny_folder
from tests.tiny_models import SIDE, WIDTH, write_open_clip, write_timm

BLOCK_CLASSES = {
    "open_clip": "ResidualAttentionBlock",
    "timm": "Block",
    "torchvision": "EncoderBlock",
    "clip": "CLIPEncoderLayer",
    "clip-vision": "CLIPEncoderLayer",
    "siglip": "SiglipEncoderLayer",
    "siglip2": "Siglip2EncoderLayer",
    "dinov2": "Dinov2Layer",
    "dinov2-registers": "Dinov2WithRegistersLayer",
    "dinov3": "DINOv3ViTLayer",
    "deit": "DeiTLayer",
    "vit": "ViTLayer",
}


@pytest.mark.parametrize("name", ["clip", "vit", "dinov2", "siglip"])
def test_trap_1_a_blocks_output_is_a_tensor_and_its_first_item_only_one_image(name: str) -> None:
    """transformers 5 returns tensors where 4 returned tuples, so output[0] is image 0."""
    backbone, x = tiny_backbone(name), pixels(4)
    outputs: list[Any] = []
    handle = backbone.blocks[1].register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        held = backbone.activations(x, ["block.1"])["block.1"]
    finally:
        handle.remove()
    whole = outputs[0] if isinstance(outputs[0], Tensor) else outputs[0][0]
    assert torch.equal(held, whole) and len(held) == 4 and held.ndim == 3


def test_trap_1_a_blocks_output_is_a_tuple() -> None:
    backbone, x = tuple_backbone(), pixels(4)
    held = backbone.activations(x, ["block.0", "block.1"])
    block: Any = backbone.blocks[1]
    assert torch.equal(block(held["block.0"])[0], held["block.1"]) and len(held["block.1"]) == 4


@pytest.mark.parametrize("name", BLOCK_CLASSES)
def test_trap_2_blocks_are_found_whatever_the_path_to_them(name: str) -> None:
    """ViTModel.layers was .encoder.layer; CLIPVisionModel lost a level that CLIPModel keeps."""
    backbone = tiny_backbone(name)
    assert [type(block).__name__ for block in backbone.blocks] == [BLOCK_CLASSES[name]] * 3
    wrapped = torch.nn.ModuleDict({"a": torch.nn.ModuleDict({"level": backbone.tower.vision})})
    assert tuple(find_blocks(wrapped)) == backbone.blocks


def test_trap_2_an_image_tower_without_its_level_loads(tmp_path: Path) -> None:
    config = transformers.CLIPVisionConfig(
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        intermediate_size=32,
    )
    model = transformers.CLIPVisionModel(config).eval()
    model.save_pretrained(tmp_path)
    shutil.copy(tiny_folder("clip") / "preprocessor_config.json", tmp_path)
    backbone, x = load_backbone(BackboneSpec(kind="transformers", source=str(tmp_path))), pixels(2)
    held = backbone.activations(x, ["block.2", "pooled"])
    with torch.no_grad():
        torch.testing.assert_close(held["pooled"], model(x).pooler_output)
    assert held["block.2"].shape == (2, 17, WIDTH)


def test_trap_3_image_features_come_wrapped_or_bare() -> None:
    """transformers 5 wraps the projected vector in a ModelOutput; 4 returns the tensor."""
    backbone, x = tiny_backbone("clip"), pixels(2)
    bare = torch.randn(2, 3)
    wrapped = transformers.modeling_outputs.BaseModelOutputWithPooling(
        last_hidden_state=torch.zeros(2, 5, 4), pooler_output=bare
    )
    assert _projected(bare) is bare and _projected(wrapped) is bare
    assert backbone.activations(x, ["pooled"])["pooled"].shape == (2, 12), "projected, not 16 wide"


def test_trap_3_attention_weights_are_there_without_eager_attention() -> None:
    """SDPA returns None as weights, so output_attentions gives nothing."""
    backbone, x = tiny_backbone("clip"), pixels(2)
    model: Any = backbone.tower.model
    assert model.config._attn_implementation == "sdpa", "else this test shows nothing"
    weights: list[Any] = []
    attention: Any = backbone.blocks[0].self_attn
    handle = attention.register_forward_hook(lambda module, inputs, output: weights.append(output[1]))
    with record_attention(backbone.blocks) as recorded:
        backbone.activations(x, ["pooled"])
    handle.remove()
    assert weights == [None] and len(recorded.maps) == 3
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("vit", "layernorm"),
        ("dinov2", "layernorm"),
        ("dinov3", "norm"),
        ("siglip", "vision_model.post_layernorm"),
        ("clip", None),
    ],
)
def test_trap_4_the_last_block_is_read_before_the_final_norm(name: str, norm: str | None) -> None:
    """hidden_states[-1] is before it in some models and after it in others."""
    backbone, x = tiny_backbone(name), pixels(2)
    held = backbone.activations(x, ["block.2"])["block.2"]
    model = backbone.tower.model
    with torch.no_grad():
        last = getattr(model, "vision_model", model)(pixel_values=x).last_hidden_state
        normed = model.get_submodule(norm)(held) if norm else held
    torch.testing.assert_close(normed, last)
    assert norm is None or not torch.allclose(held, last)


@pytest.mark.parametrize("b", [1, 3, 17])
def test_trap_5_blocks_run_batch_first_or_tokens_first(b: int, tmp_path: Path) -> None:
    """open_clip turns its blocks by batch_first; 17 images have as many tokens each."""
    write_open_clip(tmp_path)
    turned = load_backbone(BackboneSpec(kind="open_clip", source=str(tmp_path)))
    stack: Any = turned.tower.model.get_submodule("visual.transformer")
    blocks: list[Any] = list(turned.blocks)
    stack.batch_first = False
    for block in blocks:
        block.attn.batch_first = False
    x = pixels(b)
    found, expected = (
        each.activations(x, ["block.0"])["block.0"] for each in (turned, tiny_backbone("open_clip"))
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "prefix", "has_cls"),
    [
        ("vit_tiny_patch16_224", 1, True),
        ("vit_small_patch14_reg4_dinov2", 5, True),
        ("deit_tiny_distilled_patch16_224", 2, True),
        ("vit_base_patch16_siglip_224", 0, False),
        ("vit_medium_patch16_reg4_gap_256", 4, False),
    ],
)
def test_trap_5_prefix_tokens_differ_between_models_of_timm(
    architecture: str, prefix: int, has_cls: bool, tmp_path: Path
) -> None:
    tiny = {"img_size": SIDE, "patch_size": 8, "embed_dim": WIDTH, "depth": 2, "num_heads": 2}
    write_timm(tmp_path, architecture=architecture, **tiny)
    backbone = load_backbone(BackboneSpec(kind="timm", source=str(tmp_path)))
    held = backbone.activations(pixels(2), ["block.1"])["block.1"]
    assert (backbone.n_prefix_tokens, backbone.has_cls) == (prefix, has_cls)
    assert held.shape == (2, prefix + 16, WIDTH) and backbone.patch_grid(pixels(1), "block.1") == (4, 4)


def test_trap_5_fused_attention_hides_no_map() -> None:
    backbone = tiny_backbone("timm")
    blocks: list[Any] = list(backbone.blocks)
    with record_attention(backbone.blocks) as recorded:
        backbone.activations(pixels(2), ["pooled"])
    assert len(recorded.maps) == 3 and all(block.attn.fused_attn for block in blocks)


@pytest.mark.parametrize("name", ["clip", "dinov2", "siglip"])
def test_trap_6_layer_numbers_mean_two_things(name: str) -> None:
    """HugoFry's family indexes blocks, SAELens and sative hidden_states, where 0 is the embedding."""
    backbone, x = tiny_backbone(name), pixels(2)
    vision = getattr(backbone.tower.model, "vision_model", backbone.tower.model)
    with torch.no_grad():
        states = vision(pixel_values=x, output_hidden_states=True).hidden_states
    for layer in (1, 2, -2):
        hook_point = block_name(layer, 3, counts="hidden-states")
        torch.testing.assert_close(backbone.activations(x, [hook_point])[hook_point], states[layer])
    assert (block_name(-2, 3), block_name(-2, 3, counts="hidden-states")) == ("block.1", "block.1")
    assert (block_name(2, 3), block_name(2, 3, counts="hidden-states")) == ("block.2", "block.1")
    for layer in (0, 4, -4):
        with pytest.raises(UnknownHookPoint, match="output of no block"):
            block_name(layer, 3, counts="hidden-states")


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["open_clip", "timm", "torchvision", "clip", "dinov2"])
def test_trap_7_pickled_weights_are_never_opened(name: str, tmp_path: Path) -> None:
    folder, canary = tmp_path / "model", tmp_path / "canary"
    shutil.copytree(tiny_folder(name), folder)
    for path in folder.glob("*.safetensors"):
        for pickled in ("pytorch_model.bin", "open_clip_pytorch_model.bin", "model.pth", path.name):
            (folder / pickled).write_bytes(pickle.dumps(Canary(canary)))
    kind = BackboneSpec(kind="transformers" if name in ("clip", "dinov2") else name, source=str(folder))
    with pytest.raises(BadModel):
        load_backbone(kind)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(BadModel, match="has no "):
        load_backbone(kind)
    assert not canary.exists()


def test_trap_8_one_activations_statistics_are_not_anothers() -> None:
    """Peers keep them on the module, so decoding A after encoding B uses B's; and torch's formula differs."""
    a, b = torch.randn(2, 3, WIDTH).unbind()
    b = b * 9 + 4
    peers, torchs = LayerNorm(), LayerNorm(ddof=0, eps_inside_root=True)
    of_a, of_b = peers.statistics(a), peers.statistics(b)
    torch.testing.assert_close(
        peers.apply(a, of_a), (a - a.mean(-1, keepdim=True)) / (a.std(-1, keepdim=True) + 1e-5)
    )
    torch.testing.assert_close(peers.undo(peers.apply(a, of_a), of_a), a, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(peers.undo(peers.apply(a, of_a), of_b), a, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torchs.apply(a, torchs.statistics(a)), functional.layer_norm(a, (WIDTH,)))


def test_trap_9_a_dictionary_of_class_tokens_is_not_read_on_patches() -> None:
    dictionary = plain("relu", torch.eye(WIDTH), torch.eye(WIDTH))
    backbone, x = tiny_backbone("dinov2-registers"), pixels(2)
    held = backbone.activations(x, ["block.1"])["block.1"].relu()
    cls, patches = (
        FeatureReader(backbone, dictionary, hook_point="block.1", pooling=pooling, batch_size=2)
        for pooling in ("cls", "max")
    )
    assert torch.equal(torch.from_numpy(cls.read_pixels(x)), held[:, 0])
    assert torch.equal(torch.from_numpy(patches.read_pixels(x)), held[:, 3:].amax(1)), (
        "no register among them"
    )
    without = FeatureReader(tiny_backbone("siglip"), dictionary, hook_point="block.1", pooling="cls")
    with pytest.raises(BadDictionary, match="without a class token"):
        without.read_pixels(x)
