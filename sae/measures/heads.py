"""What turns the end of a backbone into logits: its own classes, or the texts of class names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sae.backbone import LOGITS, POOLED, VisionBackbone
from sae.token_layout import Tokens

TEMPLATES = ("a photo of a {}",)


class Patchable(Protocol):
    """A backbone whose activations can be replaced on the way; see ``sae.hooked``."""

    def forward_with(
        self, images: Tensor, hook_point: str, replace: Callable[[Tensor], Tensor], *, tokens: Tokens = "all"
    ) -> Mapping[str, Tensor]:
        """The ends with something else in the place of what ``tokens`` at a hook point hold."""
        ...


class Head(NamedTuple):
    """Logits of some classes."""

    end: str
    """The backbone's end it reads."""
    classes: tuple[str, ...]
    """Empty where the model's own classes have no names here."""
    templates: tuple[str, ...] = ()
    """What class names are put into; empty for a classifier."""
    texts: Tensor | None = None
    """(c, d) unit embeddings of the classes; None where the end holds logits already."""
    scale: float = 1.0
    """What cosines are multiplied by: the logit scale the model was trained to."""

    def logits(self, ends: Mapping[str, Tensor]) -> Tensor:
        """(b, c) float32 on the CPU."""
        held = ends[self.end].float().cpu()
        return held if self.texts is None else self.scale * F.normalize(held, dim=-1) @ self.texts.T


def zero_shot_head(
    backbone: VisionBackbone, classes: Sequence[str], *, templates: Sequence[str] = TEMPLATES
) -> Head:
    """Classes told by text: the mean over templates of unit embeddings. NoTextTower where there is none.

    Underscores in class names become spaces. A bias of the model's own is the same for every class and is
    left out.
    """
    named = [name.replace("_", " ") for name in classes]
    told = [F.normalize(_read(backbone, [each.format(name) for name in named]), dim=-1) for each in templates]
    texts = F.normalize(torch.stack(told).mean(0), dim=-1)
    return Head(POOLED, tuple(classes), tuple(templates), texts, logit_scale(backbone))


def classifier_head(classes: Sequence[str] = ()) -> Head:
    """The model's own classes."""
    return Head(LOGITS, tuple(classes))


def can_tell_classes(backbone: VisionBackbone, hook_point: str, pixels: Tensor) -> bool:
    """Whether the model's own logits can be had with a hook point patched; ``pixels``: some, to try it."""
    if LOGITS not in backbone.hook_points:
        return False
    return LOGITS in patchable(backbone).forward_with(pixels[:1], hook_point, lambda x: x)


def patchable(backbone: VisionBackbone) -> Patchable:
    """A backbone as one that can be patched, which those that are loaded here can."""
    return cast(Patchable, backbone)


def model_of(backbone: VisionBackbone) -> nn.Module | None:
    """The module behind a backbone; None where there is none to be had."""
    model = getattr(getattr(backbone, "tower", None), "model", None)
    return model if isinstance(model, nn.Module) else None


def logit_scale(backbone: VisionBackbone) -> float:
    """What a contrastive model multiplies cosines by; 1 where it does not say."""
    held = getattr(model_of(backbone), "logit_scale", None)
    return float(held.detach().float().exp()) if isinstance(held, Tensor) else 1.0


def _read(backbone: VisionBackbone, texts: Sequence[str]) -> Tensor:
    parts = [backbone.encode_text(texts[start : start + 256]) for start in range(0, len(texts), 256)]
    return torch.cat(parts).float().cpu()
