"""Vision models behind one interface, whatever library they come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn

from sae.card import BACKBONES, BackboneSpec
from sae.errors import NoTextTower, UnknownHookPoint
from sae.hooks import as_tokens, capture, find_blocks
from sae.model_folder import locate

POOLED = "pooled"
LOGITS = "logits"


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


@dataclass(frozen=True)
class Tower:
    """What a loader knows of the model it loaded."""

    model: nn.Module
    """Module paths begin here."""
    vision: nn.Module
    """Blocks are searched here."""
    prepare: Callable[[Image.Image], Tensor]
    """One RGB image to (3, h, w)."""
    embed: Callable[[Tensor], dict[str, Tensor]]
    """(b, 3, h, w) to 'pooled', and 'logits' where ``ends`` has it."""
    ends: tuple[str, ...] = (POOLED,)
    n_prefix_tokens: int = 0
    has_cls: bool = False
    channels_last: bool = False
    """Whether maps are (b, h, w, d)."""
    read_text: Callable[[Sequence[str]], Tensor] | None = None
    """Texts to (b, d); the tokens must be moved to the model's device inside."""


UNLOADABLE = (OSError, RuntimeError, ValueError, TypeError, KeyError, AssertionError, SafetensorError)
"""What open_clip, timm and transformers raise at a folder that is not what it says."""


def load_backbone(
    spec: BackboneSpec, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> VisionBackbone:
    """Load a model from a folder, the hub cache or the hub, safetensors only. BadModel, ModelUnreachable."""
    loader = import_module(BACKBONES[spec.kind])
    folder: Path = locate(spec.source, spec.revision, needs=loader.NEEDS, wants=loader.WANTS)
    tower: Tower = loader.load(folder)
    tower.model.to(device=device, dtype=dtype).eval().requires_grad_(False)
    return HookedBackbone(tower, device=torch.device(device), dtype=dtype)


@dataclass(frozen=True, repr=False)
class HookedBackbone:
    """A tower, read by hooks; implements VisionBackbone."""

    tower: Tower
    device: torch.device
    dtype: torch.dtype

    @property
    def hook_points(self) -> tuple[str, ...]:
        return (*self.tower.ends, *(f"block.{i}" for i in range(len(find_blocks(self.tower.vision)))))

    @property
    def n_prefix_tokens(self) -> int:
        return self.tower.n_prefix_tokens

    @property
    def has_cls(self) -> bool:
        return self.tower.has_cls

    @property
    def has_text(self) -> bool:
        return self.tower.read_text is not None

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        return torch.stack([self.tower.prepare(image.convert("RGB")) for image in images])

    @torch.no_grad()
    def activations(self, images: Tensor, hook_points: Sequence[str]) -> dict[str, Tensor]:
        modules = {name: self._module(name) for name in hook_points if name not in self.tower.ends}
        images = images.to(self.device, self.dtype)
        found, ends = capture(
            modules,
            lambda: self.tower.embed(images),
            stop_early=bool(modules) and set(modules) == set(hook_points),
        )
        held = (ends or {}) | {name: self._tokens(name, output, images) for name, output in found.items()}
        return {name: held[name] for name in hook_points}

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        if self.tower.read_text is None:
            raise NoTextTower("This backbone has no text tower; use a multimodal one such as CLIP.")
        return self.tower.read_text(list(texts))

    def _module(self, name: str) -> nn.Module:
        kind, _, index = name.partition(".")
        blocks = find_blocks(self.tower.vision)
        if kind == "block" and index.isdecimal() and int(index) < len(blocks):
            return blocks[int(index)]
        try:
            # The empty path would be the model itself.
            return self.tower.model.get_submodule(name or "-")
        except AttributeError:
            raise UnknownHookPoint(
                f"Hook point {name!r} is not in this backbone; "
                f"have {', '.join(self.hook_points)} or a module's path."
            ) from None

    def _tokens(self, name: str, output: Tensor, images: Tensor) -> Tensor:
        b, maps = len(images), self.tower.channels_last
        tokens_first = output.ndim == 3 and output.shape[0] != b
        if output.ndim == 3 and b > 1 and output.shape[0] == output.shape[1] == b:
            # As many tokens as images: one image alone tells which come first.
            alone, _ = capture(
                {name: self._module(name)}, lambda: self.tower.embed(images[:1]), stop_early=True
            )
            tokens_first = alone[name].shape[0] != 1
        return as_tokens(output, tokens_first=tokens_first, channels_last=maps)
