"""Random vision models of a few thousand weights in the real formats, in folders and in hub-cache layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
import transformers
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.models._api import register_model

from sae import backbone_torchvision
from sae.backbone_torchvision import Preprocessing, TorchvisionConfig
from sae.card import BackboneKind

REVISION = "0123456789abcdef0123456789abcdef01234567"
SIDE, WIDTH, PATCH = 32, 16, 8
"""Images of 32 pixels, 16 patch tokens of 16 numbers."""
HALF = [0.5, 0.5, 0.5]


def write_open_clip(folder: Path, *, tokenizer: bool = True, **vision: Any) -> None:
    """An open_clip folder with a custom config; with ``tokenizer`` its own 514 tokens, else CLIP's."""
    text: dict[str, Any] = {
        "context_length": 12,
        "vocab_size": 49408,
        "width": WIDTH,
        "heads": 2,
        "layers": 1,
    }
    if tokenizer:
        ends = {"pad_id": 513, "eos_id": 513}
        text |= {"vocab_size": 514, "hf_tokenizer_name": "tiny", "pool_type": "argmax", **ends}
        write_tokenizer(folder)
    tower = {"image_size": SIDE, "layers": 3, "width": WIDTH, "patch_size": PATCH, "head_width": 8}
    config = {"embed_dim": WIDTH, "vision_cfg": tower | vision, "text_cfg": text}
    model = _seeded(lambda: open_clip.CLIP(**config))
    preprocess = {"mean": HALF, "std": HALF, "interpolation": "bicubic", "resize_mode": "squash"}
    _write_json(folder / "open_clip_config.json", {"model_cfg": config, "preprocess_cfg": preprocess})
    _save(model, folder / "open_clip_model.safetensors")


def write_timm(
    folder: Path, *, architecture: str = "vit_tiny_patch16_224", num_classes: int = 5, **arguments: Any
) -> None:
    """A timm folder."""
    tiny = {"img_size": SIDE, "patch_size": PATCH, "embed_dim": WIDTH, "depth": 3, "num_heads": 2}
    arguments = arguments or tiny
    model = _seeded(
        lambda: timm.create_model(architecture, pretrained=False, num_classes=num_classes, **arguments)
    )
    pretrained = {
        "input_size": [3, SIDE, SIDE],
        "mean": HALF,
        "std": HALF,
        "crop_pct": 1.0,
        "num_classes": num_classes,
    }
    entry = {"architecture": architecture, "num_classes": num_classes, "model_args": arguments}
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", entry | {"pretrained_cfg": pretrained})
    _save(model, folder / "model.safetensors")


def write_clip(folder: Path) -> None:
    """A transformers CLIP folder, both towers."""
    sizes = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    ends = {"vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    config = transformers.CLIPConfig(
        text_config=sizes | ends | {"max_position_embeddings": 12, "num_hidden_layers": 1},
        vision_config=sizes | {"image_size": SIDE, "patch_size": PATCH},
        projection_dim=12,
    )
    _seeded(lambda: transformers.CLIPModel(config)).save_pretrained(folder)
    transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder)
    write_tokenizer(folder)


def write_siglip(folder: Path) -> None:
    """A transformers SigLIP folder: no class token, attention pooling."""
    sizes = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = transformers.SiglipConfig(
        text_config=sizes | {"vocab_size": 514, "max_position_embeddings": 12, "projection_size": WIDTH},
        vision_config=sizes | {"image_size": SIDE, "patch_size": PATCH},
    )
    _seeded(lambda: transformers.SiglipModel(config)).save_pretrained(folder)
    transformers.SiglipImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    write_tokenizer(folder)


def write_clip_vision(folder: Path) -> None:
    """CLIP's image tower alone, with its projection."""
    config = transformers.CLIPVisionConfig(**_TOWER, intermediate_size=32, projection_dim=12)
    _seeded(lambda: transformers.CLIPVisionModelWithProjection(config)).save_pretrained(folder)
    transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder)


def write_dinov2(folder: Path) -> None:
    """A transformers DINOv2 folder."""
    config = transformers.Dinov2Config(**_TOWER, mlp_ratio=2)
    _seeded(lambda: transformers.Dinov2Model(config)).save_pretrained(folder)
    _plain_processor().save_pretrained(folder)


def write_dinov2_registers(folder: Path) -> None:
    """The same with two register tokens."""
    config = transformers.Dinov2WithRegistersConfig(**_TOWER, mlp_ratio=2, num_register_tokens=2)
    _seeded(lambda: transformers.Dinov2WithRegistersModel(config)).save_pretrained(folder)
    _plain_processor().save_pretrained(folder)


def write_vit(folder: Path) -> None:
    """A transformers ViT classifier folder, as most checkpoints are: no pooler."""
    config = transformers.ViTConfig(**_TOWER, intermediate_size=32, num_labels=5)
    _seeded(lambda: transformers.ViTForImageClassification(config)).save_pretrained(folder)
    _plain_processor().save_pretrained(folder)


def write_siglip2(folder: Path) -> None:
    """A transformers SigLIP2 folder that takes patches of any number (NaFlex), at most 16 here."""
    sizes = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = transformers.Siglip2Config(
        text_config=sizes | {"vocab_size": 514, "max_position_embeddings": 12, "projection_size": WIDTH},
        vision_config=sizes | {"patch_size": PATCH, "num_patches": 16},
    )
    _seeded(lambda: transformers.Siglip2Model(config)).save_pretrained(folder)
    transformers.Siglip2ImageProcessor(patch_size=PATCH, max_num_patches=16).save_pretrained(folder)
    write_tokenizer(folder)


def write_dinov3(folder: Path) -> None:
    """A transformers DINOv3 ViT folder with two register tokens."""
    config = transformers.DINOv3ViTConfig(**_TOWER, intermediate_size=32, num_register_tokens=2)
    _seeded(lambda: transformers.DINOv3ViTModel(config)).save_pretrained(folder)
    _plain_processor().save_pretrained(folder)


def write_deit(folder: Path) -> None:
    """A transformers DeiT folder: a class token and a distillation token."""
    config = transformers.DeiTConfig(**_TOWER, intermediate_size=32)
    _seeded(lambda: transformers.DeiTModel(config)).save_pretrained(folder)
    _plain_processor().save_pretrained(folder)


def write_pyramid(folder: Path, *, family: str) -> None:
    """A transformers model whose stages halve the map, without a class token."""
    stages = {"hidden_sizes": [8, WIDTH], "depths": [1, 1], "num_stages": 2}
    swin = {"image_size": SIDE, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]}
    build: dict[str, Callable[[], nn.Module]] = {
        "convnext": lambda: transformers.ConvNextModel(transformers.ConvNextConfig(**stages)),
        "dinov3-convnext": lambda: transformers.DINOv3ConvNextModel(
            transformers.DINOv3ConvNextConfig(hidden_sizes=[8, WIDTH], depths=[1, 1])
        ),
        "resnet": lambda: transformers.ResNetModel(
            transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, WIDTH], depths=[1, 1])
        ),
        "swin": lambda: transformers.SwinModel(transformers.SwinConfig(**swin, window_size=2)),
    }
    _seeded(build[family]).save_pretrained(folder)
    _plain_processor().save_pretrained(folder)


def write_torchvision(folder: Path, *, architecture: str = "tiny_vit", num_classes: int = 5) -> None:
    """A torchvision folder; the tiny architectures are registered as torchvision registers its own."""
    model = _seeded(lambda: models.get_model(architecture, num_classes=num_classes))
    config = TorchvisionConfig(
        architecture=architecture,
        num_classes=num_classes,
        preprocessing=Preprocessing(resize=SIDE, crop=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    )
    backbone_torchvision.write(model, folder, config)


@register_model()  # type: ignore[untyped-decorator]
def tiny_vit(*, weights: None = None, num_classes: int = 5) -> nn.Module:
    """torchvision's ViT."""
    sizes = {"num_layers": 3, "num_heads": 2, "hidden_dim": WIDTH, "mlp_dim": 32}
    model: nn.Module = models.VisionTransformer(
        image_size=SIDE, patch_size=PATCH, num_classes=num_classes, **sizes
    )
    return model


@register_model()  # type: ignore[untyped-decorator]
def tiny_resnet(*, weights: None = None, num_classes: int = 5) -> nn.Module:
    """torchvision's ResNet, two stages of it worth anything."""
    model: nn.Module = models.ResNet(models.resnet.BasicBlock, [1, 2, 1, 1], num_classes=num_classes)
    return model


@register_model()  # type: ignore[untyped-decorator]
def tiny_convnext(*, weights: None = None, num_classes: int = 5) -> nn.Module:
    """torchvision's ConvNeXt."""
    stages = [models.convnext.CNBlockConfig(8, WIDTH, 1), models.convnext.CNBlockConfig(WIDTH, None, 2)]
    model: nn.Module = models.ConvNeXt(stages, num_classes=num_classes)
    return model


@register_model()  # type: ignore[untyped-decorator]
def tiny_swin(*, weights: None = None, num_classes: int = 5) -> nn.Module:
    """torchvision's Swin, whose maps are NHWC."""
    sizes = {"depths": [1, 2], "num_heads": [2, 2], "window_size": [2, 2]}
    model: nn.Module = models.SwinTransformer([4, 4], embed_dim=8, num_classes=num_classes, **sizes)
    return model


WRITERS: dict[str, tuple[BackboneKind, Callable[[Path], None]]] = {
    "open_clip": ("open_clip", write_open_clip),
    "timm": ("timm", write_timm),
    "torchvision": ("torchvision", write_torchvision),
    "clip": ("transformers", write_clip),
    "siglip": ("transformers", write_siglip),
    "siglip2": ("transformers", write_siglip2),
    "clip-vision": ("transformers", write_clip_vision),
    "dinov2": ("transformers", write_dinov2),
    "dinov2-registers": ("transformers", write_dinov2_registers),
    "dinov3": ("transformers", write_dinov3),
    "deit": ("transformers", write_deit),
    "vit": ("transformers", write_vit),
}
"""Every kind of model folder and the loader that reads it: three blocks, 16 patches of 16 numbers."""

_TIMM_SWIN: dict[str, Any] = {"img_size": SIDE, "window_size": 2, "depths": (1, 2), "num_heads": (2, 2)}

PYRAMIDS: dict[str, tuple[BackboneKind, Callable[[Path], None]]] = {
    "torchvision-resnet": ("torchvision", partial(write_torchvision, architecture="tiny_resnet")),
    "torchvision-convnext": ("torchvision", partial(write_torchvision, architecture="tiny_convnext")),
    "torchvision-swin": ("torchvision", partial(write_torchvision, architecture="tiny_swin")),
    "timm-resnet": (
        "timm",
        partial(write_timm, architecture="resnet18", layers=(1, 2, 1, 1), channels=(8, 8, 16, 16)),
    ),
    "timm-convnext": (
        "timm",
        partial(write_timm, architecture="convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16)),
    ),
    "timm-swin": (
        "timm",
        partial(write_timm, architecture="swin_tiny_patch4_window7_224", embed_dim=8, **_TIMM_SWIN),
    ),
    "convnext": ("transformers", partial(write_pyramid, family="convnext")),
    "dinov3-convnext": ("transformers", partial(write_pyramid, family="dinov3-convnext")),
    "resnet": ("transformers", partial(write_pyramid, family="resnet")),
    "swin": ("transformers", partial(write_pyramid, family="swin")),
}
"""Networks whose blocks hold maps of several sizes."""

HUB_IDS = {
    "openai/clip-vit-base-patch32": "clip",
    "facebook/dinov2-base": "dinov2",
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": "open_clip",
    "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k": "timm",
}
"""Names people give, each a tiny model of the same format here."""


def write_hub_model(cache: Path, hub_id: str, write: Callable[[Path], None]) -> Path:
    """Write a model where the hub's client would have put it, as links into blobs; returns its snapshot."""
    home = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot, blobs = home / "snapshots" / REVISION, home / "blobs"
    write(home / "scratch")
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted((home / "scratch").iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(number))
    (home / "scratch").rmdir()
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(REVISION)
    return snapshot


def write_tokenizer(folder: Path) -> None:
    """A byte-level CLIP tokenizer without merges: 512 byte tokens and the two ends."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + at) for at in range(256 - len(printable))]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: at for at, token in enumerate(tokens)}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=12).save_pretrained(folder)


_TOWER: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}


def _plain_processor() -> Any:
    return transformers.ViTImageProcessor(
        size={"height": SIDE, "width": SIDE}, image_mean=HALF, image_std=HALF
    )


def _seeded(build: Callable[[], nn.Module]) -> Any:
    torch.manual_seed(0)
    model = build()
    # Random towers give almost the same output for every image; wider weights tell images apart.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * parameter[0].numel() ** -0.5)
    return model.eval()


def _save(model: nn.Module, path: Path) -> None:
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, path, metadata={"format": "pt"})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
