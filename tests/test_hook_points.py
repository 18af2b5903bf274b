"""Hook points of tiny backbones: their tokens, grids and the hooks that read them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from sae.backbone import HookedBackbone, load_backbone
from sae.card import BackboneSpec
from sae.errors import UnknownHookPoint, WrongTokens
from sae.hooks import capture, find_blocks
from sae.token_layout import Layout
from tests import tiny_models
from tests.tiny_backbones import fresh_backbone, pictures, pixels, tiny_backbone, tiny_folder
from tests.tiny_models import PATCH, SIDE, WIDTH, WRITERS

PATCHES = (SIDE // PATCH) ** 2
PREFIX = {"dinov2-registers": 3, "dinov3": 3, "deit": 2, "siglip": 0, "siglip2": 0}


@pytest.mark.parametrize("name", WRITERS)
def test_blocks_hold_tokens_of_every_image(name: str) -> None:
    backbone = fresh_backbone(name)
    x = backbone.preprocess(pictures(5))
    assert backbone.hook_points[-3:] == ("block.0", "block.1", "block.2")
    held = backbone.activations(x, backbone.hook_points)
    assert list(held) == list(backbone.hook_points)
    for i in range(3):
        assert held[f"block.{i}"].shape == (5, backbone.n_prefix_tokens + PATCHES, WIDTH)
        alone = backbone.activations(x[3:4], [f"block.{i}"])[f"block.{i}"]
        torch.testing.assert_close(held[f"block.{i}"][3], alone[0], rtol=1e-4, atol=1e-5)
    assert backbone.n_prefix_tokens == PREFIX.get(name, 1) and backbone.has_cls == ("siglip" not in name)
    assert backbone.patch_grid(x, "block.1") == (SIDE // PATCH, SIDE // PATCH)


def test_blocks_are_the_hidden_states_of_transformers() -> None:
    for name in ("clip", "dinov2"):
        backbone = fresh_backbone(name)
        x = backbone.preprocess(pictures(2))
        vision = getattr(backbone.tower.model, "vision_model", backbone.tower.model)
        with torch.no_grad():
            states = vision(x, output_hidden_states=True).hidden_states
        # State 0 is the embedding, so block 1's output is state 2.
        torch.testing.assert_close(backbone.activations(x, ["block.1"])["block.1"], states[2])


def test_timm_classes_are_a_hook_point(tmp_path: Path) -> None:
    backbone = fresh_backbone("timm")
    x = backbone.preprocess(pictures(3))
    model = timm.create_model(f"local-dir:{tiny_folder('timm')}", pretrained=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(backbone.activations(x, ["logits"])["logits"], model(x))
    tiny_models.write_timm(tmp_path, num_classes=0)
    assert "logits" not in load_backbone(BackboneSpec(kind="timm", source=str(tmp_path))).hook_points


@pytest.mark.parametrize(
    ("architecture", "arguments", "prefix", "shape"),
    [
        ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}, 0, (3, 1, 16)),
        (
            "swin_tiny_patch4_window7_224",
            {"img_size": 32, "depths": (1, 2), "num_heads": (2, 2), "embed_dim": 8},
            0,
            None,
        ),
        (
            "vit_small_patch14_reg4_dinov2",
            {"img_size": 28, "embed_dim": 16, "depth": 2, "num_heads": 2},
            5,
            (3, 9, 16),
        ),
    ],
)
def test_maps_and_registers_become_tokens(
    tmp_path: Path, architecture: str, arguments: dict[str, Any], prefix: int, shape: tuple[int, ...] | None
) -> None:
    tiny_models.write_timm(tmp_path, architecture=architecture, **arguments)
    backbone = load_backbone(BackboneSpec(kind="timm", source=str(tmp_path)))
    size = arguments.get("img_size", SIDE)
    last = backbone.hook_points[-1]
    held = backbone.activations(torch.randn(3, 3, size, size), [last, "pooled"])
    assert held[last].ndim == 3 and held[last].shape[-1] == held["pooled"].shape[-1]
    assert backbone.n_prefix_tokens == prefix and (shape is None or held[last].shape == shape)


@pytest.mark.parametrize(
    ("name", "blocks", "grids"),
    [
        ("torchvision-resnet", 5, [(8, 8), (4, 4), (4, 4), (2, 2), (1, 1)]),
        ("torchvision-convnext", 3, [(8, 8), (4, 4), (4, 4)]),
        ("torchvision-swin", 3, [(8, 8), (4, 4), (4, 4)]),
        ("timm-resnet", 5, [(8, 8), (4, 4), (4, 4), (2, 2), (1, 1)]),
        ("timm-swin", 2, [(8, 8), (4, 4)]),
        ("convnext", 2, [(8, 8), (4, 4)]),
        ("dinov3-convnext", 2, [(8, 8), (4, 4)]),
        ("resnet", 2, [(8, 8), (4, 4)]),
        ("swin", 2, [(4, 4), (4, 4)]),
    ],
)
def test_maps_of_every_stage_become_tokens_in_order(
    name: str, blocks: int, grids: list[tuple[int, int]]
) -> None:
    backbone, x = tiny_backbone(name), pixels(3)
    held = backbone.activations(x, backbone.hook_points)
    assert len(backbone.blocks) == blocks and not backbone.n_prefix_tokens and not backbone.has_cls
    for number, grid in enumerate(grids):
        assert backbone.patch_grid(x, f"block.{number}") == grid
        assert held[f"block.{number}"].shape[:2] == (3, grid[0] * grid[1])
    assert held["pooled"].ndim == 2 and held["pooled"].std(0).mean() > 0.01
    with pytest.raises(WrongTokens, match="one vector per image"):
        backbone.patch_grid(x, "pooled")


def test_a_grid_has_the_shape_of_the_image() -> None:
    backbone, wide = tiny_backbone("dinov3"), torch.randn(2, 3, SIDE, 3 * SIDE)
    assert backbone.patch_grid(wide, "block.0") == (SIDE // PATCH, 3 * SIDE // PATCH)
    assert tiny_backbone("timm-convnext").patch_grid(wide, "block.0") == (8, 24)


def test_outputs_are_kept_without_a_copy_unless_a_module_works_over_them() -> None:
    backbone, x, seen = tiny_backbone("torchvision-resnet"), pixels(2), {}
    for name in ("layer1.0.bn1", "block.0"):
        module = backbone._module(name)
        handle = module.register_forward_hook(lambda m, i, o, name=name: seen.update({name: (o, o.clone())}))
        try:
            for _ in range(2):
                held = backbone.activations(x, [name, "pooled"])[name]
                output, before = seen[name]
                assert torch.equal(held, Layout().tokens(before))
                # ReLU works in place on what batch normalisation gives.
                assert (held.data_ptr() == output.data_ptr()) == (name == "block.0")
        finally:
            handle.remove()


def test_inside_a_window_there_is_no_hook_point() -> None:
    with pytest.raises(UnknownHookPoint, match=r"no hook point; take a block\.$"):
        tiny_backbone("swin").activations(pixels(3), ["encoder.layers.0.blocks.0.attention"])


def test_a_module_path_is_a_hook_point() -> None:
    backbone = fresh_backbone("open_clip")
    x = backbone.preprocess(pictures(2))
    path = "visual.transformer.resblocks.1"
    held = backbone.activations(x, [path, "block.1", "visual.ln_post"])
    assert torch.equal(held[path], held["block.1"]) and held["visual.ln_post"].shape == (
        2,
        PATCHES + 1,
        WIDTH,
    )


@pytest.mark.parametrize("hook_point", ["block.3", "block.x", "visual.nothing", "", "logits"])
def test_an_unknown_hook_point_lists_those_there_are(hook_point: str) -> None:
    backbone = fresh_backbone("open_clip")
    with pytest.raises(
        UnknownHookPoint, match=r"have pooled, block\.0, block\.1, block\.2 or a module's path"
    ):
        backbone.activations(torch.zeros(1, 3, SIDE, SIDE), [hook_point])


def _hooks(backbone: HookedBackbone) -> int:
    return sum(len(module._forward_hooks) for module in backbone.tower.model.modules())


def test_hooks_never_stay() -> None:
    backbone = fresh_backbone("timm")
    backbone.activations(torch.zeros(2, 3, SIDE, SIDE), ["block.0", "pooled"])
    backbone.activations(torch.zeros(2, 3, SIDE, SIDE), ["block.0"])
    with pytest.raises(AssertionError, match="Input height"):
        backbone.activations(torch.zeros(2, 3, SIDE + 1, SIDE), ["block.0"])
    assert _hooks(backbone) == 0


def test_the_pass_stops_after_the_last_hook_point() -> None:
    backbone = fresh_backbone("timm")
    reached: list[str] = []
    for number, block in enumerate(find_blocks(backbone.tower.vision)):
        block.register_forward_pre_hook(lambda *_, number=number: reached.append(f"block.{number}"))
    backbone.activations(torch.zeros(1, 3, SIDE, SIDE), ["block.1", "block.0"])
    assert reached == ["block.0", "block.1"]


@pytest.mark.parametrize("b", [1, 2, PATCHES + 1])
def test_blocks_that_run_tokens_first_are_turned(b: int) -> None:
    backbone, turned = fresh_backbone("open_clip"), fresh_backbone("open_clip")
    stack: Any = turned.tower.model.get_submodule("visual.transformer")
    stack.batch_first = False
    blocks: list[Any] = find_blocks(turned.tower.vision)
    for block in blocks:
        block.attn.batch_first = False
    x = backbone.preprocess(pictures(b))
    one, other = (each.activations(x, ["block.1"])["block.1"] for each in (backbone, turned))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_outputs_come_as_tensors_tuples_or_mappings() -> None:
    class Wrapped(torch.nn.Module):
        def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
            super().__init__()
            self.wrap = wrap

        def forward(self, x: Tensor) -> Any:
            return self.wrap(x)

    x = torch.ones(2, 3)
    wraps: list[Callable[[Tensor], Any]] = [lambda t: t, lambda t: (None, t), lambda t: {"w": None, "x": t}]
    for wrap in wraps:
        module = Wrapped(wrap)
        found, _ = capture({"here": module}, partial(module, x))
        assert torch.equal(found["here"], x)


def test_a_later_module_that_works_in_place_changes_nothing() -> None:
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU(inplace=True))
    found, result = capture({"first": model[0]}, lambda: model(torch.tensor([-1.0])))
    assert found["first"].item() == -1 and result is not None and result.item() == 0


def test_maps_in_both_orders_become_the_same_tokens() -> None:
    maps = torch.randn(2, 5, 3, 4)
    tokens = Layout().tokens(maps)
    assert tokens.shape == (2, 12, 5) and torch.equal(tokens[1, 6], maps[1, :, 1, 2])
    assert torch.equal(Layout(channels_last=True).tokens(maps.permute(0, 2, 3, 1)), tokens)
