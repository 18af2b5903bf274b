"""transformers models, 4 and 5: CLIP, SigLIP, ViT, DINO and more, from a folder with safetensors weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)
from transformers.utils import logging

from sae.errors import BadModel, first_line
from sae.hook_point import POOLED
from sae.naflex import as_patches, prepare_square
from sae.tower import UNLOADABLE, Tower

NEEDS = ("model.safetensors", "model.safetensors.index.json")
WANTS = ("*.json", "model-*.safetensors", "merges.txt", "vocab.txt", "*.model")


def load(folder: Path) -> Tower:
    """Read a folder by the model_type of its config; BadModel lists the types there are."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        family = config.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise BadModel(f"{folder} has no readable config.json; give a transformers model folder.") from error
    if family not in FAMILIES:
        raise BadModel(f"{folder} holds a {family!r} model; have {', '.join(FAMILIES)}.")
    try:
        return FAMILIES[family](folder, config)
    except BadModel:
        raise
    except UNLOADABLE as error:
        raise BadModel(f"{folder} cannot be loaded by transformers: {first_line(error)}") from error


def _image_and_text(folder: Path, config: dict[str, Any]) -> Tower:
    """CLIP and SigLIP with both towers; SigLIP's image tower has no class token."""
    model = _weights(AutoModel, folder)
    has_cls = hasattr(model.vision_model.embeddings, "class_embedding")
    naflex = config["model_type"] == "siglip2"

    @cache
    def tokenizer() -> Any:
        return AutoTokenizer.from_pretrained(folder)

    def read_text(texts: Sequence[str]) -> Tensor:
        length = model.config.text_config.max_position_embeddings
        read = tokenizer()(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        return _projected(model.get_text_features(**read.to(model.device)))

    return Tower(
        model=model,
        vision=model.vision_model,
        prepare=_preparation(folder),
        embed=_naflex_embedding(model.get_image_features, model.config.vision_config)
        if naflex
        else lambda images: {POOLED: _projected(model.get_image_features(pixel_values=images))},
        n_prefix_tokens=int(has_cls),
        has_cls=has_cls,
        read_text=read_text,
    )


def _naflex_embedding(embed: Callable[..., Any], config: Any) -> Callable[[Tensor], dict[str, Tensor]]:
    def embedding(images: Tensor) -> dict[str, Tensor]:
        return {POOLED: _projected(embed(**as_patches(images, config.patch_size)._asdict()))}

    return embedding


def _clip_vision(folder: Path, config: dict[str, Any]) -> Tower:
    """CLIP's image tower saved alone; without a projection 'pooled' is the class token's last state."""
    bare = config.get("architectures") == ["CLIPVisionModel"]
    model = _weights(CLIPVisionModel if bare else CLIPVisionModelWithProjection, folder)
    end = "pooler_output" if bare else "image_embeds"
    return Tower(
        model=model,
        vision=model,
        prepare=_preparation(folder),
        embed=lambda images: {POOLED: getattr(model(pixel_values=images), end)},
        n_prefix_tokens=1,
        has_cls=True,
    )


def _class_token(folder: Path, config: dict[str, Any]) -> Tower:
    """Image-only transformers whose embedding is the class token after the last layer norm.

    A pooler above it is left out: most checkpoints do not hold its weights. Register tokens, and DeiT's
    distillation token, come after the class token.
    """
    family = config["model_type"]
    model = _weights(AutoModel, folder, **({"add_pooling_layer": False} if family in _POOLERS else {}))
    return Tower(
        model=model,
        vision=model,
        prepare=_preparation(folder),
        embed=lambda images: {POOLED: model(pixel_values=images).last_hidden_state[:, 0]},
        n_prefix_tokens=1 + int(getattr(model.config, "num_register_tokens", 0)) + (family == "deit"),
        has_cls=True,
    )


def _pooled(folder: Path, config: dict[str, Any]) -> Tower:
    """Image-only models without a class token, whose own pooling gives one vector per image."""
    model = _weights(AutoModel, folder)
    naflex = config["model_type"] == "siglip2_vision_model"
    return Tower(
        model=model,
        vision=model,
        prepare=_preparation(folder),
        embed=_naflex_embedding(model, model.config)
        if naflex
        else lambda images: {POOLED: model(pixel_values=images).pooler_output.flatten(1)},
    )


_RELEASE = tuple(int(number) for number in transformers.__version__.split(".")[:2])
_DTYPE = "dtype" if _RELEASE >= (4, 56) else "torch_dtype"

_POOLERS = ("vit", "deit")
"""Families with a pooler of trained weights."""

FAMILIES: dict[str, Callable[[Path, dict[str, Any]], Tower]] = {
    "clip": _image_and_text,
    "siglip": _image_and_text,
    "siglip2": _image_and_text,
    "clip_vision_model": _clip_vision,
    "siglip_vision_model": _pooled,
    "siglip2_vision_model": _pooled,
    "vit": _class_token,
    "deit": _class_token,
    "dinov2": _class_token,
    "dinov2_with_registers": _class_token,
    "dinov3_vit": _class_token,
    "dinov3_convnext": _pooled,
    "convnext": _pooled,
    "convnextv2": _pooled,
    "resnet": _pooled,
    "swin": _pooled,
    "swinv2": _pooled,
}


def _weights(cls: Any, folder: Path, **options: Any) -> Any:
    # In float32 whatever the file holds: the caller asks for another precision, the file does not.
    with _quiet():
        model, report = cls.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, **{_DTYPE: torch.float32}, **options
        )
    if report["missing_keys"]:
        # transformers would draw them at random.
        raise BadModel(
            f"{folder} lacks the weights {', '.join(sorted(report['missing_keys']))}; download it again."
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no table of the weights that were left out."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _preparation(folder: Path) -> Callable[[Image.Image], Tensor]:
    processor = AutoImageProcessor.from_pretrained(folder)
    if hasattr(processor, "max_num_patches"):
        return partial(prepare_square, processor)

    def prepare(image: Image.Image) -> Tensor:
        pixels: Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels

    return prepare


def _projected(output: Any) -> Tensor:
    """The embedding: transformers 5 wraps it, transformers 4 does not."""
    embedding: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return embedding
