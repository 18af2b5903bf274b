"""timm models from a folder in timm's hub format: config.json and model.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor

from sae.backbone import LOGITS, POOLED, UNLOADABLE, Tower
from sae.errors import BadModel, first_line

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

    def embed(images: Tensor) -> dict[str, Tensor]:
        last = model.forward_features(images)
        found = {POOLED: model.forward_head(last, pre_logits=True)}
        return found | {LOGITS: model.forward_head(last)} if LOGITS in ends else found

    return Tower(
        model=model,
        vision=model,
        prepare=prepare,
        embed=embed,
        ends=ends,
        n_prefix_tokens=int(getattr(model, "num_prefix_tokens", 0)),
        has_cls=getattr(model, "cls_token", None) is not None,
        channels_last=getattr(model, "output_fmt", "NCHW") == "NHWC",
    )
