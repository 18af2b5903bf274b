"""Tiny backbones, loaded once a process: nothing that reads them changes them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sae.backbone import HookedBackbone, load_backbone
from sae.card import BackboneSpec
from tests.tiny_models import PYRAMIDS, SIDE, WRITERS

_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@cache
def tiny_folder(name: str) -> Path:
    """The folder of a model of WRITERS or PYRAMIDS."""
    _KEPT.append(tempfile.TemporaryDirectory())
    folder = Path(_KEPT[-1].name) / name
    (WRITERS | PYRAMIDS)[name][1](folder)
    return folder


@cache
def tiny_backbone(name: str, dtype: torch.dtype = torch.float32) -> HookedBackbone:
    """The backbone itself."""
    spec = BackboneSpec(kind=(WRITERS | PYRAMIDS)[name][0], source=str(tiny_folder(name)))
    return load_backbone(spec, dtype=dtype)


def fresh_backbone(name: str) -> HookedBackbone:
    """The backbone loaded anew, for what changes it."""
    return load_backbone(BackboneSpec(kind=(WRITERS | PYRAMIDS)[name][0], source=str(tiny_folder(name))))


def pictures(n: int, *, seed: int = 0) -> list[Image.Image]:
    """n images of noise."""
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(n)]


def pixels(n: int, *, seed: int = 0) -> Tensor:
    """(n, 3, h, w) preprocessed noise."""
    return torch.randn(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def hooks_left(backbone: HookedBackbone) -> int:
    """Hooks of all modules, before and after their forward passes.

    But those that transformers puts on a model for good once anyone asks it for attentions or hidden states.
    """
    modules = backbone.tower.model.modules()
    hooks = [
        hook
        for each in modules
        for hook in (*each._forward_hooks.values(), *each._forward_pre_hooks.values())
    ]
    return sum(not getattr(hook, "__module__", "").startswith("transformers.") for hook in hooks)
