"""Backbones of every library: what they embed, texts, precision, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from sae.backbone import VisionBackbone, load_backbone
from sae.card import BackboneSpec
from sae.errors import BadModel, ModelUnreachable, NoTextTower
from tests import tiny_models
from tests.tiny_backbones import fresh_backbone, pictures, tiny_folder
from tests.tiny_models import HUB_IDS, REVISION, SIDE, WRITERS, write_hub_model

TEXTUAL = ("open_clip", "clip", "siglip", "siglip2")


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
def test_pooled_is_what_the_library_itself_embeds(name: str) -> None:
    backbone, images = fresh_backbone(name), pictures(3)
    pooled = backbone.activations(backbone.preprocess(images), ["pooled"])["pooled"]
    with torch.no_grad():
        torch.testing.assert_close(pooled, NATIVE[name](tiny_folder(name), images))
    assert pooled.std(0).mean() > 0.05, "a test that cannot tell images apart shows nothing"


@pytest.mark.parametrize("name", TEXTUAL)
def test_texts_are_embedded_by_the_models_own_tokenizer(name: str) -> None:
    backbone = fresh_backbone(name)
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


def test_a_backbone_without_texts_says_so() -> None:
    backbone = fresh_backbone("timm")
    assert not backbone.has_text
    with pytest.raises(NoTextTower, match="no text tower"):
        backbone.encode_text(["dog"])


@pytest.mark.parametrize("name", WRITERS)
def test_any_picture_mode_and_size_is_prepared(name: str) -> None:
    backbone = fresh_backbone(name)
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
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    for path in tiny_folder(name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for path in tmp_path.glob("*.safetensors"):
        weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in load_file(path).items()}
        save_file(weights, path, metadata={"format": "pt"})
    backbone = load_backbone(BackboneSpec(kind=WRITERS[name][0], source=str(tmp_path)))
    x = backbone.preprocess(pictures(2))
    half, full = (each.activations(x, ["pooled"])["pooled"] for each in (backbone, fresh_backbone(name)))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", WRITERS)
def test_a_backbone_runs_in_the_precision_asked_for(name: str) -> None:
    spec = BackboneSpec(kind=WRITERS[name][0], source=str(tiny_folder(name)))
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
    name: str, breakage: Callable[[Path], None], tmp_path: Path
) -> None:
    for path in tiny_folder(name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    breakage(tmp_path)
    with pytest.raises(BadModel) as caught:
        load_backbone(BackboneSpec(kind=WRITERS[name][0], source=str(tmp_path)))
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_source_that_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="neither a folder nor a hub id"):
        load_backbone(BackboneSpec(kind="timm", source=str(tmp_path / "missing")))
