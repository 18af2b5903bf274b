"""torchvision classifiers (ViT, ResNet, ConvNeXt, Swin, …) from a folder: config.json, model.safetensors.

torchvision publishes its weights as pickles, so there is no hub id to give: ``write`` makes the folder of a
model, once, from torchvision's own weights. config.json names the architecture as torchvision does, and
where they differ from its default weights the number of classes, the side of a ViT's images and the
preprocessing: {"architecture": "resnet18", "num_classes": 10, "preprocessing": {"crop": 32, "resize": 32}}.
model.safetensors is the state dict.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import get_ident
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError
from safetensors.torch import load_model, save_file
from torch import Tensor, nn
from torchvision import models, transforms

from sae.errors import BadModel, first_line
from sae.feature import Frozen
from sae.hook_point import LOGITS, POOLED
from sae.tower import UNLOADABLE, Tower
from sae.whole_file import whole_file

NEEDS = ("model.safetensors",)
WANTS = ("config.json",)
CONFIG_FILE = "config.json"


class Preprocessing(Frozen):
    """What torchvision's classification preset does; None means as for the architecture's default weights."""

    resize: int | None = Field(default=None, gt=0)
    """Pixels of the shorter side before the crop."""
    crop: int | None = Field(default=None, gt=0)
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = None


class TorchvisionConfig(Frozen):
    """What config.json says."""

    architecture: str
    """A name of torchvision.models.list_models()."""
    num_classes: int = Field(default=1000, gt=0)
    image_size: int | None = Field(default=None, gt=0)
    """Side of the images of a ViT, where it is not 224."""
    preprocessing: Preprocessing = Preprocessing()


def load(folder: Path) -> Tower:
    """Read a folder; BadModel when config and weights do not fit."""
    config = _read_config(folder)
    try:
        sized = {} if config.image_size is None else {"image_size": config.image_size}
        model = models.get_model(config.architecture, weights=None, num_classes=config.num_classes, **sized)
        load_model(model, folder / NEEDS[0])
        prepare = _preparation(config)
    except UNLOADABLE as error:
        raise BadModel(f"{folder} cannot be loaded by torchvision: {first_line(error)}") from error
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1].out_features != config.num_classes:
        raise BadModel(
            f"{folder} holds a {config.architecture!r}, which does not end in a linear classifier."
        )
    return Tower(
        model=model,
        vision=model,
        prepare=prepare,
        embed=_embedding(model, linear[-1]),
        ends=(POOLED, LOGITS),
        classify=linear[-1],
        n_prefix_tokens=int(hasattr(model, "class_token")),
        has_cls=hasattr(model, "class_token"),
        channels_last=isinstance(model, models.SwinTransformer),
    )


def write(model: nn.Module, folder: Path, config: TorchvisionConfig) -> None:
    """Make the folder ``load`` reads: the weights first, whole, then config.json.

    ``write(models.resnet18(weights="DEFAULT"), folder, TorchvisionConfig(architecture="resnet18"))``
    """
    weights = {name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / NEEDS[0]) as partial:
        save_file(weights, partial, metadata={"format": "pt"})
    with whole_file(folder / CONFIG_FILE) as partial:
        partial.write_text(config.model_dump_json(indent=1, exclude_defaults=True) + "\n", encoding="utf-8")


def _read_config(folder: Path) -> TorchvisionConfig:
    path = folder / CONFIG_FILE
    try:
        return TorchvisionConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadModel(f"{folder} has no readable {CONFIG_FILE}; name the architecture in it.") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or CONFIG_FILE
        raise BadModel(f"{path} is not a torchvision model's: {where}: {fault['msg']}.") from error


def _embedding(model: nn.Module, head: nn.Module) -> Callable[[Tensor], dict[str, Tensor]]:
    """Runs the model once; 'pooled' is what its last linear layer reads."""

    def embed(images: Tensor) -> dict[str, Tensor]:
        read: dict[int, Tensor] = {}

        def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            read[get_ident()] = inputs[0]

        hook = head.register_forward_pre_hook(keep)
        try:
            logits: Tensor = model(images)
        finally:
            hook.remove()
        return {POOLED: read[get_ident()], LOGITS: logits}

    return embed


def _preparation(config: TorchvisionConfig) -> Callable[[Any], Tensor]:
    asked, preset = config.preprocessing, _preset(config.architecture)
    mode = transforms.InterpolationMode
    crop = asked.crop or config.image_size or preset.crop_size[0]
    resize = asked.resize or (preset.resize_size[0] if crop == preset.crop_size[0] else crop)
    prepare: Callable[[Any], Tensor] = transforms.Compose(
        [
            transforms.Resize(
                resize, interpolation=mode(asked.interpolation or preset.interpolation), antialias=True
            ),
            transforms.CenterCrop(crop),
            transforms.PILToTensor(),
            transforms.ConvertImageDtype(torch.float32),
            transforms.Normalize(asked.mean or preset.mean, asked.std or preset.std),
        ]
    )
    return prepare


def _preset(architecture: str) -> Any:
    """The preprocessing of the default weights, which are not downloaded; ResNet's where there are none."""
    try:
        weights = models.get_model_weights(architecture).DEFAULT
    except (ValueError, AttributeError):
        weights = models.ResNet50_Weights.DEFAULT
    return weights.transforms()
