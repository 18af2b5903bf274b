from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from sae.backbone import HookedBackbone, VisionBackbone, load_backbone
from sae.card import BackboneSpec
from sae.errors import BadModel, ModelUnreachable, NoTextTower, UnknownHookPoint, WrongTokens
from sae.hooks import capture, find_blocks
from sae.token_layout import Layout
from tests import tiny_models
from tests.tiny_backbones import pixels, tiny_backbone
from tests.tiny_models import HUB_IDS, PATCH, REVISION, SIDE, WIDTH, WRITERS, write_hub_model

PATCHES = (SIDE // PATCH) ** 2
TEXTUAL = ("open_clip", "clip", "siglip", "siglip2")
PREFIX = {"dinov2-registers": 3, "dinov3": 3, "deit": 2, "siglip": 0, "siglip2": 0}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny model of every format."""
    folder = tmp_path_factory.mktemp("models")
    for name, (_, write) in WRITERS.items():
        write(folder / name)
    return folder


def load(models: Path, name: str) -> HookedBackbone:
    backbone = load_backbone(BackboneSpec(kind=WRITERS[name][0], source=str(models / name)))
    assert isinstance(backbone, HookedBackbone)
    return backbone


def pictures(n: int, *, seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(n)]


def _open_clip(folder: Path, images: list[Image.Image]) -> Tensor:
    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    embedded: Tensor = model.eval().encode_image(torch.stack([prepare(image) for image in images]))
    return embedded


def _timm(folder: Path, images: list[Image.Image]) -> Tensor:
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    model.reset_classifier(0)
    data: Any = timm.data
    prepare = data.create_transform(**data.resolve_model_data_config(model))
    embedded: Tensor = model(torch.stack([prepare(image) for image in images]))
    return embedded


def _transformers(
    read: Callable[[Any, Tensor], Tensor], cls: Any
) -> Callable[[Path, list[Image.Image]], Tensor]:
    def embed(folder: Path, images: list[Image.Image]) -> Tensor:
        pixels = transformers.AutoImageProcessor.from_pretrained(folder)(images=images, return_tensors="pt")
        return read(cls.from_pretrained(folder).eval(), pixels["pixel_values"])

    return embed


def _torchvision(folder: Path, images: list[Image.Image]) -> Tensor:
    model: Any = tiny_models.tiny_vit().eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    model.heads = torch.nn.Identity()
    embedded: Tensor = model(torch.stack([to_tensor(image) * 2 - 1 for image in images]))
    return embedded


def _siglip2(folder: Path, images: list[Image.Image]) -> Tensor:
    read = transformers.AutoImageProcessor.from_pretrained(folder)(images=images, return_tensors="pt")
    embedded: Tensor = transformers.AutoModel.from_pretrained(folder).eval().get_image_features(**read)[1]
    return embedded


_first = _transformers(lambda model, x: model(x).last_hidden_state[:, 0], transformers.AutoModel)
NATIVE: dict[str, Callable[[Path, list[Image.Image]], Tensor]] = {
    "open_clip": _open_clip,
    "timm": _timm,
    "clip": _transformers(lambda m, x: m.get_image_features(x).pooler_output, transformers.CLIPModel),
    "siglip": _transformers(lambda m, x: m.get_image_features(x).pooler_output, transformers.SiglipModel),
    "clip-vision": _transformers(
        lambda model, x: model(x).image_embeds, transformers.CLIPVisionModelWithProjection
    ),
    "siglip2": _siglip2,
    "torchvision": _torchvision,
    "dinov2": _first,
    "dinov2-registers": _first,
    "dinov3": _first,
    "deit": _first,
    "vit": _transformers(
        lambda model, x: model.vit(x).last_hidden_state[:, 0], transformers.ViTForImageClassification
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_pooled_is_what_the_library_itself_embeds(models: Path, name: str) -> None:
    backbone, images = load(models, name), pictures(3)
    pooled = backbone.activations(backbone.preprocess(images), ["pooled"])["pooled"]
    with torch.no_grad():
        torch.testing.assert_close(pooled, NATIVE[name](models / name, images))
    assert pooled.std(0).mean() > 0.05, "a test that cannot tell images apart shows nothing"


@pytest.mark.parametrize("name", WRITERS)
def test_blocks_hold_tokens_of_every_image(models: Path, name: str) -> None:
    backbone = load(models, name)
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


def test_blocks_are_the_hidden_states_of_transformers(models: Path) -> None:
    for name in ("clip", "dinov2"):
        backbone = load(models, name)
        x = backbone.preprocess(pictures(2))
        vision = getattr(backbone.tower.model, "vision_model", backbone.tower.model)
        with torch.no_grad():
            states = vision(x, output_hidden_states=True).hidden_states
        # State 0 is the embedding, so block 1's output is state 2.
        torch.testing.assert_close(backbone.activations(x, ["block.1"])["block.1"], states[2])


def test_timm_classes_are_a_hook_point(models: Path, tmp_path: Path) -> None:
    backbone = load(models, "timm")
    x = backbone.preprocess(pictures(3))
    model = timm.create_model(f"local-dir:{models / 'timm'}", pretrained=True).eval()
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


def test_a_module_path_is_a_hook_point(models: Path) -> None:
    backbone = load(models, "open_clip")
    x = backbone.preprocess(pictures(2))
    path = "visual.transformer.resblocks.1"
    held = backbone.activations(x, [path, "block.1", "visual.ln_post"])
    assert torch.equal(held[path], held["block.1"]) and held["visual.ln_post"].shape == (
        2,
        PATCHES + 1,
        WIDTH,
    )


@pytest.mark.parametrize("hook_point", ["block.3", "block.x", "visual.nothing", "", "logits"])
def test_an_unknown_hook_point_lists_those_there_are(models: Path, hook_point: str) -> None:
    backbone = load(models, "open_clip")
    with pytest.raises(
        UnknownHookPoint, match=r"have pooled, block\.0, block\.1, block\.2 or a module's path"
    ):
        backbone.activations(torch.zeros(1, 3, SIDE, SIDE), [hook_point])


def _hooks(backbone: HookedBackbone) -> int:
    return sum(len(module._forward_hooks) for module in backbone.tower.model.modules())


def test_hooks_never_stay(models: Path) -> None:
    backbone = load(models, "timm")
    backbone.activations(torch.zeros(2, 3, SIDE, SIDE), ["block.0", "pooled"])
    backbone.activations(torch.zeros(2, 3, SIDE, SIDE), ["block.0"])
    with pytest.raises(AssertionError, match="Input height"):
        backbone.activations(torch.zeros(2, 3, SIDE + 1, SIDE), ["block.0"])
    assert _hooks(backbone) == 0


def test_the_pass_stops_after_the_last_hook_point(models: Path) -> None:
    backbone = load(models, "timm")
    reached: list[str] = []
    for number, block in enumerate(find_blocks(backbone.tower.vision)):
        block.register_forward_pre_hook(lambda *_, number=number: reached.append(f"block.{number}"))
    backbone.activations(torch.zeros(1, 3, SIDE, SIDE), ["block.1", "block.0"])
    assert reached == ["block.0", "block.1"]


@pytest.mark.parametrize("b", [1, 2, PATCHES + 1])
def test_blocks_that_run_tokens_first_are_turned(models: Path, b: int) -> None:
    backbone, turned = load(models, "open_clip"), load(models, "open_clip")
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


@pytest.mark.parametrize("name", TEXTUAL)
def test_texts_are_embedded_by_the_models_own_tokenizer(models: Path, name: str) -> None:
    backbone = load(models, name)
    texts = ["a red fish", "dog", "a red fish " * 30]
    together = backbone.encode_text(texts)
    width = backbone.activations(torch.zeros(1, 3, SIDE, SIDE), ["pooled"])["pooled"].shape[1]
    assert together.shape == (3, width) and together.std(0).mean() > 0.05
    torch.testing.assert_close(backbone.encode_text(["dog"])[0], together[1], rtol=1e-4, atol=1e-5)
    assert (together.norm(dim=1) - 1).abs().max() > 1e-3, "embeddings are not normalised"


def test_open_clip_without_a_named_tokenizer_uses_clips_own(tmp_path: Path) -> None:
    tiny_models.write_open_clip(tmp_path, tokenizer=False)
    backbone = load_backbone(BackboneSpec(kind="open_clip", source=str(tmp_path)))
    assert backbone.encode_text(["a dog", "a cat"]).std(0).mean() > 0.01


def test_a_backbone_without_texts_says_so(models: Path) -> None:
    backbone = load(models, "timm")
    assert not backbone.has_text
    with pytest.raises(NoTextTower, match="no text tower"):
        backbone.encode_text(["dog"])


@pytest.mark.parametrize("name", WRITERS)
def test_any_picture_mode_and_size_is_prepared(models: Path, name: str) -> None:
    backbone = load(models, name)
    odd = [Image.new("L", (9, 70)), Image.new("RGBA", (64, 33)), Image.new("P", (SIDE, SIDE))]
    x = backbone.preprocess(odd)
    assert x.shape == (3, 3, SIDE, SIDE) and x.dtype == torch.float32


@pytest.mark.parametrize("hub_id", HUB_IDS)
@pytest.mark.parametrize("revision", [None, "main", REVISION])
def test_hub_ids_load_from_the_cache_without_a_network(
    hub_id: str, revision: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    kind, write = WRITERS[HUB_IDS[hub_id]]
    write_hub_model(tmp_path, hub_id, write)
    backbone: VisionBackbone = load_backbone(BackboneSpec(kind=kind, source=hub_id, revision=revision))
    assert backbone.activations(backbone.preprocess(pictures(2)), ["pooled"])["pooled"].shape[0] == 2
    if backbone.has_text:
        assert len(backbone.encode_text(["dog"])) == 1


def test_a_hub_id_that_cannot_be_had_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelUnreachable, match=r"'a/b' at revision v2 is not in .* give a local folder\.$"):
        load_backbone(BackboneSpec(kind="timm", source="a/b", revision="v2"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("name", ["open_clip", "timm", "clip"])
def test_weights_stored_in_half_precision_run_in_float32(
    models: Path, name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    for path in (models / name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for path in tmp_path.glob("*.safetensors"):
        weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in load_file(path).items()}
        save_file(weights, path, metadata={"format": "pt"})
    backbone = load_backbone(BackboneSpec(kind=WRITERS[name][0], source=str(tmp_path)))
    x = backbone.preprocess(pictures(2))
    half, full = (each.activations(x, ["pooled"])["pooled"] for each in (backbone, load(models, name)))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", WRITERS)
def test_a_backbone_runs_in_the_precision_asked_for(models: Path, name: str) -> None:
    spec = BackboneSpec(kind=WRITERS[name][0], source=str(models / name))
    backbone = load_backbone(spec, dtype=torch.bfloat16)
    held = backbone.activations(backbone.preprocess(pictures(2)), ["pooled", "block.0"])
    assert {tensor.dtype for tensor in held.values()} == {torch.bfloat16}


def _no_config(folder: Path) -> None:
    for path in folder.glob("*config.json"):
        path.unlink()


def _no_weights(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))


def _cut(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-7])


def _lacking(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        weights = load_file(path)
        save_file(dict(list(weights.items())[1:]), path, metadata={"format": "pt"})


def _other_config(folder: Path) -> None:
    for path in folder.glob("*config.json"):
        path.write_text(json.dumps({"model_type": "gpt2", "architecture": "none", "model_cfg": {}}))


@pytest.mark.parametrize("breakage", [_no_config, _no_weights, _cut, _lacking, _other_config])
@pytest.mark.parametrize("name", ["open_clip", "timm", "clip", "dinov2"])
def test_a_broken_folder_is_refused_in_one_sentence(
    models: Path, name: str, breakage: Callable[[Path], None], tmp_path: Path
) -> None:
    for path in (models / name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    breakage(tmp_path)
    with pytest.raises(BadModel) as caught:
        load_backbone(BackboneSpec(kind=WRITERS[name][0], source=str(tmp_path)))
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_source_that_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="neither a folder nor a hub id"):
        load_backbone(BackboneSpec(kind="timm", source=str(tmp_path / "missing")))
