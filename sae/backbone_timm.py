"""timm models from a folder in timm's hub format: config.json and model.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn

from sae.errors import BadModel, first_line
from sae.hook_point import LOGITS, POOLED
from sae.tower import UNLOADABLE, Tower

NEEDS = ("model.safetensors",)
WANTS = ("config.json",)


def load(folder: Path) -> Tower:
    """Read a folder; BadModel when config and weights do not fit."""
    try:
        model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except UNLOADABLE as error:
        raise BadModel(f"{folder} cannot be loaded by timm: {first_line(error)}") from error
    prepare = create_transform(**resolve_model_data_config(model), is_training=False)
    ends = (POOLED, LOGITS) if model.num_classes else (POOLED,)
    # The head of a distilled model is two, and its logits are no function of 'pooled'.
    head = model.get_classifier() if model.num_classes else None
    classify = head if isinstance(head, nn.Linear) else None

    def embed(images: Tensor) -> dict[str, Tensor]:
        last = model.forward_features(images)
        pooled = model.forward_head(last, pre_logits=True)
        if LOGITS not in ends:
            return {POOLED: pooled}
        return {POOLED: pooled, LOGITS: classify(pooled) if classify else model.forward_head(last)}

    return Tower(
        model=model,
        vision=model,
        prepare=prepare,
        embed=embed,
        ends=ends,
        classify=classify,
        n_prefix_tokens=int(getattr(model, "num_prefix_tokens", 0)),
        has_cls=getattr(model, "cls_token", None) is not None,
        channels_last=getattr(model, "output_fmt", "NCHW") == "NHWC",
    )
