"""What each loader makes of a model: where its blocks are, and how images become embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn

from sae.hook_point import POOLED


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
    classify: Callable[[Tensor], Tensor] | None = None
    """'pooled' to 'logits', by which ``embed`` computes them; None where they do not follow from it."""
    n_prefix_tokens: int = 0
    """Class, register and distillation tokens."""
    has_cls: bool = False
    channels_last: bool = False
    """Whether maps are (b, h, w, d)."""
    read_text: Callable[[Sequence[str]], Tensor] | None = None
    """Texts to (b, d); the tokens must be moved to the model's device inside."""


UNLOADABLE = (OSError, RuntimeError, ValueError, TypeError, KeyError, AssertionError, SafetensorError)
"""What open_clip, timm, torchvision and transformers raise at a folder that is not what it says."""
