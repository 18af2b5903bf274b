"""Vision models behind one interface, whatever library they come from."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from sae.card import BACKBONES, BackboneSpec
from sae.hook_point import LOGITS as LOGITS
from sae.hook_point import POOLED as POOLED
from sae.hooked import HookedBackbone as HookedBackbone
from sae.model_folder import locate
from sae.tower import Tower


class VisionBackbone(Protocol):
    """A vision model that can be read at hook points.

    A hook point is 'pooled' (the image embedding, not normalised), 'logits' where there are classes, the
    output of a block counted from 0, 'block.3', or the path of any module.
    """

    @property
    def hook_points(self) -> tuple[str, ...]:
        """Those with a name of their own; module paths work as well."""
        ...

    @property
    def n_prefix_tokens(self) -> int:
        """Class and register tokens before the first patch token."""
        ...

    @property
    def has_cls(self) -> bool:
        """Whether token 0 is a class token."""
        ...

    @property
    def has_text(self) -> bool:
        """Whether ``encode_text`` works."""
        ...

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        """(b, 3, h, w) float32 on the CPU, by the model's own preprocessing."""
        ...

    def activations(self, images: Tensor, hook_points: Sequence[str]) -> dict[str, Tensor]:
        """Preprocessed (b, 3, h, w) to what each hook point holds, in one pass.

        (b, p, d) where there are tokens, prefix tokens first; (b, d) at 'pooled' and 'logits'. On the
        backbone's device, in its dtype. UnknownHookPoint lists the names there are.
        """
        ...

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """(b, d) embeddings in the space of 'pooled', not normalised. NoTextTower where there is none."""
        ...


def load_backbone(
    spec: BackboneSpec, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> HookedBackbone:
    """Load a model from a folder, the hub cache or the hub, safetensors only. BadModel, ModelUnreachable."""
    loader = import_module(BACKBONES[spec.kind])
    folder: Path = locate(spec.source, spec.revision, needs=loader.NEEDS, wants=loader.WANTS)
    tower: Tower = loader.load(folder)
    tower.model.to(device=device, dtype=dtype).eval().requires_grad_(False)
    return HookedBackbone(tower, device=torch.device(device), dtype=dtype)
