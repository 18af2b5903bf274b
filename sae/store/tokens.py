"""Which tokens of what a hook point holds are taken: the class token, the patches, all, or the one vector."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from sae.backbone import VisionBackbone
from sae.errors import WrongStore
from sae.store.manifest import HookPart, Scope


def hook_parts(backbone: VisionBackbone, hook_points: Sequence[str], scope: Scope) -> tuple[HookPart, ...]:
    """What each hook point would give of an image, seen on a grey one. WrongStore, UnknownHookPoint.

    A hook point without tokens gives its one vector whatever the scope.
    """
    if len(set(hook_points)) != len(hook_points) or not hook_points:
        raise WrongStore(f"Hook points {', '.join(hook_points) or 'none'}: give each once, and at least one.")
    pixels = backbone.preprocess([Image.new("RGB", (64, 64), "grey")])
    held = backbone.activations(pixels, hook_points)
    folders = _folders(hook_points)
    return tuple(
        _part(backbone, name, held[name], scope=scope, folder=folder, pixels=pixels)
        for name, folder in zip(hook_points, folders, strict=True)
    )


def take_tokens(held: Tensor, part: HookPart, backbone: VisionBackbone) -> Tensor:
    """(b, tokens, d) of what a hook point holds, (b, p, d) or (b, d)."""
    if part.scope == "pooled":
        return held[:, None]
    if part.scope == "cls":
        return held[:, :1]
    return held[:, backbone.n_prefix_tokens :] if part.scope == "patch" else held


def _part(
    backbone: VisionBackbone, name: str, held: Tensor, *, scope: Scope, folder: str, pixels: Tensor
) -> HookPart:
    if held.ndim == 2:
        return HookPart(hook_point=name, folder=folder, scope="pooled", width=held.shape[1], tokens=1)
    patches = held.shape[1] - backbone.n_prefix_tokens
    if scope == "pooled" or (scope == "cls" and not backbone.has_cls) or patches < 1:
        raise WrongStore(
            f"Hook point {name!r} holds {held.shape[1]} tokens "
            f"{'with' if backbone.has_cls else 'without'} a class token, so {scope!r} does not fit; "
            f"take {'cls, patch or all' if backbone.has_cls else 'patch or all'}."
        )
    counts = {"cls": 1, "patch": patches, "all": held.shape[1]}
    return HookPart(
        hook_point=name,
        folder=folder,
        scope=scope,
        width=held.shape[2],
        tokens=counts[scope],
        prefix={"cls": 1, "patch": 0, "all": backbone.n_prefix_tokens}[scope],
        grid=None if scope == "cls" else _grid(patches, pixels),
    )


def _grid(patches: int, pixels: Tensor) -> tuple[int, int] | None:
    """Rows and columns of that many patches, in the proportion of (b, 3, h, w) pixels."""
    height, width = pixels.shape[2:]
    rows = round((patches * height / width) ** 0.5)
    columns = patches // rows if rows else 0
    return (rows, columns) if rows * columns == patches and rows * width == columns * height else None


def _folders(hook_points: Sequence[str]) -> list[str]:
    """A folder's name for each, all different, that cannot lead out of the store."""
    names = [re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".") or "_" for name in hook_points]
    taken = {"shards", "images", "plan.json", "manifest.json"}
    return [
        f"{name}-{number}" if name in taken or names.index(name) != number else name
        for number, name in enumerate(names)
    ]


def padded(pixels: Tensor, size: int) -> Tensor:
    """(size, 3, h, w): a batch filled up, so that how many images came with one does not change it."""
    if len(pixels) == size:
        return pixels
    filled = pixels.new_zeros(size, *pixels.shape[1:])
    filled[: len(pixels)] = pixels
    return torch.as_tensor(filled)
