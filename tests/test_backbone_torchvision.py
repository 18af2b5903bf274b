from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import models

from sae.backbone import load_backbone
from sae.backbone_torchvision import TorchvisionConfig, _preparation, load, write
from sae.card import BackboneSpec
from sae.errors import BadModel
from tests.tiny_backbones import pixels, tiny_backbone, tiny_folder
from tests.tiny_models import write_torchvision


@pytest.mark.parametrize(
    "name", ["torchvision", *(f"torchvision-{n}" for n in ("resnet", "convnext", "swin"))]
)
def test_logits_are_the_models_own(name: str) -> None:
    backbone, x = tiny_backbone(name), pixels(3)
    held = backbone.activations(x, ["pooled", "logits"])
    with torch.no_grad():
        assert torch.equal(held["logits"], backbone.tower.model(x))
    assert held["pooled"].ndim == 2 and backbone.hook_points[:2] == ("pooled", "logits")


@pytest.mark.parametrize("architecture", ["resnet18", "vit_b_16", "swin_t", "convnext_tiny", "swin_v2_t"])
def test_images_are_prepared_as_for_the_default_weights(architecture: str) -> None:
    image = Image.effect_noise((300, 260), 80).convert("RGB")
    preset: Any = models.get_model_weights(architecture).DEFAULT.transforms()
    prepared = _preparation(TorchvisionConfig(architecture=architecture))(image)
    torch.testing.assert_close(prepared, preset(image))


def test_a_folder_says_no_more_than_it_must(tmp_path: Path) -> None:
    write(
        models.get_model("tiny_vit", num_classes=1000), tmp_path, TorchvisionConfig(architecture="tiny_vit")
    )
    assert json.loads((tmp_path / "config.json").read_text()) == {"architecture": "tiny_vit"}


def _edit(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


@pytest.mark.parametrize(
    ("breakage", "says"),
    [
        (_edit(architecture="no_such_net"), "Unknown model no_such_net"),
        (_edit(num_classes=6), "size mismatch|Error"),
        (_edit(num_classes=-1), "num_classes"),
        (_edit(weights="DEFAULT"), "weights: Extra inputs are not permitted"),
        (_edit(architecture="squeezenet1_0"), "cannot be loaded|does not end"),
        (lambda folder: (folder / "config.json").write_text("[]"), "not a torchvision model's"),
        (lambda folder: (folder / "config.json").unlink(), "name the architecture in it"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04."), "cannot be loaded"),
    ],
)
def test_a_broken_folder_is_refused(breakage: Callable[[Path], Any], says: str, tmp_path: Path) -> None:
    write_torchvision(tmp_path)
    breakage(tmp_path)
    with pytest.raises(BadModel, match=says) as caught:
        load_backbone(BackboneSpec(kind="torchvision", source=str(tmp_path)))
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_torchvisions_own_names_are_no_source() -> None:
    with pytest.raises(BadModel, match="'resnet18' is neither a folder nor a hub id"):
        load_backbone(BackboneSpec(kind="torchvision", source="resnet18"))


@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_a_config_of_any_bytes_is_refused_in_a_sentence(content: bytes, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "model.safetensors").symlink_to(tiny_folder("torchvision") / "model.safetensors")
    (folder / "config.json").write_bytes(content)
    with pytest.raises(BadModel, match=r"\.$"):
        load(folder)
