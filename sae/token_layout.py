"""How a module's output holds the tokens of a batch: which axis is which, and which tokens are which."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sae.errors import UnknownHookPoint, WrongTokens

Tokens = Literal["cls", "patch", "all"]
"""'all' includes registers, which are neither class token nor patches."""


class Layout(NamedTuple):
    """The axes of a module's output."""

    tokens_first: bool = False
    """(p, b, d) and not (b, p, d)."""
    channels_last: bool = False
    """Maps are (b, h, w, d) and not (b, d, h, w)."""

    def tokens(self, output: Tensor) -> Tensor:
        """(b, p, d) of sequences and of maps, a view where the memory allows; (b, d) stays as it is."""
        if output.ndim == 4:
            return output.flatten(1, 2) if self.channels_last else output.flatten(2).transpose(1, 2)
        return output.transpose(0, 1) if output.ndim == 3 and self.tokens_first else output

    def output(self, tokens: Tensor, like: Tensor) -> Tensor:
        """The inverse: a new tensor in the shape, the strides and the dtype of ``like``.

        The strides too, because kernels chosen by them round differently.
        """
        if like.ndim == 4 and self.channels_last:
            tokens = tokens.reshape(like.shape)
        elif like.ndim == 4:
            tokens = tokens.transpose(1, 2).reshape(like.shape)
        elif like.ndim == 3 and self.tokens_first:
            tokens = tokens.transpose(0, 1)
        return torch.empty_like(like).copy_(tokens)


def layout_of(output: Tensor, images: int, *, channels_last: bool) -> Layout | None:
    """The layout of an output for ``images`` images; None where its shape fits two.

    UnknownHookPoint where no axis counts the images, as inside window attention.
    """
    shape = tuple(output.shape)
    if output.ndim == 3 and images > 1 and shape[0] == shape[1] == images:
        return None
    if output.ndim == 3 and shape[1] == images != shape[0]:
        return Layout(tokens_first=True)
    if output.ndim in (2, 3, 4) and shape[0] == images:
        return Layout(channels_last=channels_last)
    raise UnknownHookPoint(
        f"A module whose output has shape {shape} for {images} images is no hook point; take a block."
    )


class Span(NamedTuple):
    """A run of tokens of a sequence, ``start`` included, ``end`` not."""

    start: int
    end: int


def span_of(held: Tensor, tokens: Tokens, *, n_prefix_tokens: int, has_cls: bool) -> Span:
    """Where the tokens asked for are in (b, p, d). WrongTokens where there are none."""
    if tokens == "all" and held.ndim == 3:
        return Span(0, held.shape[1])
    if held.ndim != 3:
        raise WrongTokens(f"One vector per image has no {tokens!r} tokens; ask for 'all'.")
    if tokens == "cls" and not (has_cls and n_prefix_tokens):
        raise WrongTokens("This hook point holds no class token; ask for 'patch' or 'all'.")
    return Span(0, 1) if tokens == "cls" else Span(n_prefix_tokens, held.shape[1])
