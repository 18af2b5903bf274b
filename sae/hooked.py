"""A vision tower that is read, and changed, by hooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from sae.errors import NoTextTower, UnknownHookPoint, WrongTokens
from sae.hook_point import LOGITS, POOLED
from sae.hooks import capture, find_blocks, visit
from sae.patched import Patch, Replace
from sae.token_layout import Layout, Tokens, layout_of
from sae.tower import Tower


class Grid(NamedTuple):
    """Patches of an image."""

    rows: int
    columns: int


@dataclass
class _Learnt:
    """What passes have shown of hook points, by their names."""

    overwritten: set[str] = field(default_factory=set)
    layouts: dict[str, Layout] = field(default_factory=dict)
    grids: dict[tuple[str, int, int], Grid] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class HookedBackbone:
    """A tower, read by hooks; implements VisionBackbone."""

    tower: Tower
    device: torch.device
    dtype: torch.dtype
    _learnt: _Learnt = field(default_factory=_Learnt, init=False, compare=False)

    @cached_property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The modules of 'block.0', 'block.1', …"""
        return tuple(find_blocks(self.tower.vision))

    @property
    def hook_points(self) -> tuple[str, ...]:
        return (*self.tower.ends, *(f"block.{i}" for i in range(len(self.blocks))))

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
        modules = self._modules(hook_points)
        images = images.to(self.device, self.dtype)
        found, ends = capture(
            modules,
            lambda: self.tower.embed(images),
            stop_early=bool(modules) and set(modules) == set(hook_points),
            copied=self._learnt.overwritten,
        )
        held = (ends or {}) | {
            name: self._layout(name, output, images).tokens(output) for name, output in found.items()
        }
        return {name: held[name] for name in hook_points}

    def differentiable(self, images: Tensor, hook_points: Sequence[str]) -> dict[str, Tensor]:
        """As ``activations``, with a graph: each tensor is what the rest of the pass was computed from.

        So ``torch.autograd.grad(held['pooled'][:, 3].sum(), held['block.2'])`` works, and so does the
        gradient with respect to ``images`` where they require one. Where they do not, the graph begins at
        the first hook point.
        """
        return self._run(images, (), hook_points, grad=True)

    def forward_with(
        self,
        images: Tensor,
        hook_point: str,
        replace: Replace,
        *,
        tokens: Tokens = "all",
        error_term: bool = False,
        grad: bool = False,
    ) -> dict[str, Tensor]:
        """'pooled', and 'logits' where there are, when ``replace`` takes the place of an activation.

        See Patch. The identity changes no bit. With ``grad`` a graph is kept. Logits are left out where
        'pooled' is patched and they do not follow from it. UnknownHookPoint, WrongTokens.
        """
        patch = Patch(hook_point, replace, tokens=tokens, error_term=error_term)
        return self.patched(images, [patch], grad=grad)

    def patched(
        self,
        images: Tensor,
        patches: Sequence[Patch],
        *,
        read: Sequence[str] | None = None,
        grad: bool = False,
    ) -> dict[str, Tensor]:
        """What hook points hold, the ends if not told, in one pass with any number of patches."""
        return self._run(images, patches, read or self.tower.ends, grad=grad)

    def patch_grid(self, images: Tensor, hook_point: str) -> Grid:
        """Rows and columns of the patch tokens at a hook point, for preprocessed images (b, 3, h, w).

        Patch token i lies at row i // columns. WrongTokens where there is one vector per image.
        """
        h, w = images.shape[2:]
        key = (hook_point, h, w)
        if key not in self._learnt.grids:
            self._learnt.grids[key] = self._grid(images, hook_point)
        return self._learnt.grids[key]

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        if self.tower.read_text is None:
            raise NoTextTower("This backbone has no text tower; use a multimodal one such as CLIP.")
        return self.tower.read_text(list(texts))

    def _run(
        self, images: Tensor, patches: Sequence[Patch], read: Sequence[str], *, grad: bool
    ) -> dict[str, Tensor]:
        modules = self._modules([*(patch.hook_point for patch in patches), *read])
        images = images.to(self.device, self.dtype)
        self._learn_layouts(modules, images)
        held: dict[str, Tensor] = {}

        def change(name: str, output: Tensor) -> Tensor | None:
            layout = self._learnt.layouts[name]
            tokens = layout.tokens(output)
            n_prefix_tokens = self.n_prefix_tokens if output.ndim == 3 else 0
            for patch in patches:
                if patch.hook_point == name:
                    tokens = patch.apply(tokens, n_prefix_tokens=n_prefix_tokens, has_cls=self.has_cls)
            if name in read:
                held[name] = tokens = _in_graph(tokens) if grad else tokens.clone()
            return layout.output(tokens, output)

        stop_early = bool(modules) and set(read) <= set(modules)
        with torch.set_grad_enabled(grad):
            forward = partial(self.tower.embed, images)
            ends = visit(modules, forward, each=change, stop_early=stop_early) or {}
            for patch in patches:
                if patch.hook_point in ends:
                    new = patch.apply(ends[patch.hook_point], n_prefix_tokens=0, has_cls=False)
                    ends = self._with_end(ends, patch.hook_point, new)
            if grad and POOLED in ends and not ends[POOLED].requires_grad:
                ends = self._with_end(ends, POOLED, _in_graph(ends[POOLED]))
        found = held | ends
        return {name: found[name] for name in read if name in found}

    def _with_end(self, ends: dict[str, Tensor], name: str, new: Tensor) -> dict[str, Tensor]:
        """``ends`` with one replaced, and those that follow from it."""
        ends = ends | {name: new}
        if name == POOLED and LOGITS in ends:
            del ends[LOGITS]
            if self.tower.classify is not None:
                ends[LOGITS] = self.tower.classify(new)
        return ends

    def _modules(self, hook_points: Sequence[str]) -> dict[str, nn.Module]:
        return {name: self._module(name) for name in hook_points if name not in self.tower.ends}

    def _module(self, name: str) -> nn.Module:
        kind, _, index = name.partition(".")
        if kind == "block" and index.isdecimal() and int(index) < len(self.blocks):
            return self.blocks[int(index)]
        try:
            # The empty path would be the model itself.
            return self.tower.model.get_submodule(name or "-")
        except AttributeError:
            raise UnknownHookPoint(
                f"Hook point {name!r} is not in this backbone; "
                f"have {', '.join(self.hook_points)} or a module's path."
            ) from None

    def _layout(self, name: str, output: Tensor, images: Tensor) -> Layout:
        layout = layout_of(output, len(images), channels_last=self.tower.channels_last)
        if layout is not None:
            return layout
        # As many tokens as images: one image alone tells which come first.
        self._learn_layouts({name: self._module(name)}, images)
        return self._learnt.layouts[name]

    @torch.no_grad()
    def _learn_layouts(self, modules: dict[str, nn.Module], images: Tensor) -> None:
        unknown = {name: module for name, module in modules.items() if name not in self._learnt.layouts}
        if not unknown:
            return
        alone, _ = capture(unknown, lambda: self.tower.embed(images[:1]), stop_early=True)
        for name, output in alone.items():
            found = layout_of(output, 1, channels_last=self.tower.channels_last)
            self._learnt.layouts[name] = found or Layout()

    @torch.no_grad()
    def _grid(self, images: Tensor, hook_point: str) -> Grid:
        one = images[:1].to(self.device, self.dtype)
        modules = self._modules([hook_point])
        output = capture(modules, lambda: self.tower.embed(one), stop_early=True)[0].get(hook_point)
        if output is None or output.ndim == 2:
            raise WrongTokens(f"Hook point {hook_point!r} holds one vector per image; it has no patches.")
        if output.ndim == 4:
            return Grid(*(output.shape[1:3] if self.tower.channels_last else output.shape[2:]))
        patches = output.shape[0] * output.shape[1] - self.n_prefix_tokens
        h, w = one.shape[2:]
        rows = max(1, round((patches * h / w) ** 0.5))
        if patches % rows:
            raise WrongTokens(
                f"The {patches} patch tokens at {hook_point!r} fill no grid shaped like {h} x {w} pixels."
            )
        return Grid(rows, patches // rows)


def _in_graph(tokens: Tensor) -> Tensor:
    return tokens if tokens.requires_grad else tokens.detach().requires_grad_()
