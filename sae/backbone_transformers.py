"""transformers models: CLIP, SigLIP, ViT, DINOv2, from a folder with config.json and safetensors weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, CLIPVisionModelWithProjection
from transformers.utils import logging

from sae.backbone import POOLED, UNLOADABLE, Tower
from sae.errors import BadModel, first_line

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
        embed=lambda images: {POOLED: _projected(model.get_image_features(pixel_values=images))},
        n_prefix_tokens=int(has_cls),
        has_cls=has_cls,
        read_text=read_text,
    )


def _clip_vision(folder: Path, config: dict[str, Any]) -> Tower:
    """CLIP's image tower saved alone, with its projection."""
    model = _weights(CLIPVisionModelWithProjection, folder)
    return Tower(
        model=model,
        vision=model,
        prepare=_preparation(folder),
        embed=lambda images: {POOLED: model(pixel_values=images).image_embeds},
        n_prefix_tokens=1,
        has_cls=True,
    )


def _class_token(folder: Path, config: dict[str, Any]) -> Tower:
    """Image-only transformers whose embedding is the class token after the last layer norm.

    A pooler above it is left out: most checkpoints do not hold its weights.
    """
    without_pooler = {} if config["model_type"].startswith("dinov2") else {"add_pooling_layer": False}
    model = _weights(AutoModel, folder, **without_pooler)
    return Tower(
        model=model,
        vision=model,
        prepare=_preparation(folder),
        embed=lambda images: {POOLED: model(pixel_values=images).last_hidden_state[:, 0]},
        n_prefix_tokens=1 + int(config.get("num_register_tokens", 0)),
        has_cls=True,
    )


FAMILIES: dict[str, Callable[[Path, dict[str, Any]], Tower]] = {
    "clip": _image_and_text,
    "siglip": _image_and_text,
    "clip_vision_model": _clip_vision,
    "vit": _class_token,
    "dinov2": _class_token,
    "dinov2_with_registers": _class_token,
}


def _weights(cls: Any, folder: Path, **options: Any) -> Any:
    # In float32 whatever the file holds: the caller asks for another precision, the file does not.
    with _quiet():
        model, report = cls.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
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

    def prepare(image: Image.Image) -> Tensor:
        pixels: Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels

    return prepare


def _projected(output: Any) -> Tensor:
    """The embedding: transformers 5 wraps it, transformers 4 does not."""
    embedding: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return embedding
