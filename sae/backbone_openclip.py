"""open_clip models: CLIP, SigLIP and their kin, from a folder in open_clip's hub format.

The folder holds open_clip_config.json ({"model_cfg": ..., "preprocess_cfg": ...}), the weights and, where
text_cfg has a hf_tokenizer_name, a tokenizer in Hugging Face format: through the scheme 'local-dir:'
open_clip takes it from the folder itself, whatever that name says. Without the name it uses CLIP's own BPE,
which it ships.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
from torch import Tensor, nn

from sae.errors import BadModel, first_line
from sae.hook_point import POOLED
from sae.tower import UNLOADABLE, Tower

NEEDS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
WANTS = ("*.json", "merges.txt", "vocab.txt", "*.model")


def load(folder: Path) -> Tower:
    """Read a folder; BadModel when config and weights do not fit."""
    name = f"local-dir:{folder}"
    try:
        model, _, prepare = open_clip.create_model_and_transforms(name)
    except UNLOADABLE as error:
        raise BadModel(f"{folder} cannot be loaded by open_clip: {first_line(error)}") from error
    n_prefix_tokens, has_cls = _prefix(model.visual)

    @cache
    def tokenizer() -> Any:
        return open_clip.get_tokenizer(name)

    def read_text(texts: Sequence[str]) -> Tensor:
        device = next(model.parameters()).device
        embedded: Tensor = model.encode_text(tokenizer()(list(texts)).to(device))
        return embedded

    return Tower(
        model=model,
        vision=model.visual,
        prepare=prepare,
        embed=lambda images: {POOLED: model.encode_image(images)},
        n_prefix_tokens=n_prefix_tokens,
        has_cls=has_cls,
        channels_last=getattr(getattr(model.visual, "trunk", None), "output_fmt", "NCHW") == "NHWC",
        read_text=read_text,
    )


def _prefix(visual: nn.Module) -> tuple[int, bool]:
    """Prefix tokens, and whether the first is a class token: open_clip's ViT has one, a timm trunk says."""
    trunk = getattr(visual, "trunk", None)
    if trunk is None:
        has_cls = hasattr(visual, "class_embedding")
        return int(has_cls), has_cls
    return int(getattr(trunk, "num_prefix_tokens", 0)), getattr(trunk, "cls_token", None) is not None
