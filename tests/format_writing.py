"""What the writers of foreign files share: random weights, objects of classes that are not installed, and the
pieces of their formulas in plain double precision.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

Formula = Callable[[Tensor], Tensor]
"""(b, d) activations to (b, d) reconstructions, in float64, as the file's own library computes them."""


class Written(NamedTuple):
    """A file and what its library makes of activations."""

    path: Path
    """To give to sae.loading.load."""
    reconstruct: Formula


class Case(NamedTuple):
    """A form of file."""

    name: str
    write: Callable[[Path, int], Written]
    """Into an empty folder, by a seed."""
    format: str
    """What it should be recognised as."""
    options: Mapping[str, Any] = {}
    """What load must be told besides the path."""


class Draw:
    """Random weights of a dictionary of n features of width d."""

    d = 6
    n = 11

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=self.generator) * scale

    def positive(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator) + 0.1

    def four(self) -> dict[str, Tensor]:
        """Both matrices and both biases by the names that most libraries give them."""
        weights = {"W_enc": self(self.d, self.n), "b_enc": self(self.n)}
        return weights | {"W_dec": self(self.n, self.d), "b_dec": self(self.d)}


@contextmanager
def strangers(*paths: str) -> Iterator[list[type]]:
    """Classes 'module.Class' that exist only inside the block, to be pickled by name."""
    made = []
    before = dict(sys.modules)
    try:
        for path in paths:
            module, _, name = path.rpartition(".")
            kind = type(name, (), {"__module__": module})
            for end in range(1, module.count(".") + 2):
                part = ".".join(module.split(".")[:end])
                sys.modules[part] = types.ModuleType(part)
            setattr(sys.modules[module], name, kind)
            made.append(kind)
        # Modules replaced while a later class was made hold the earlier ones no more.
        for path, kind in zip(paths, made, strict=True):
            setattr(sys.modules[path.rpartition(".")[0]], kind.__name__, kind)
        yield made
    finally:
        for name in set(sys.modules) - set(before):
            del sys.modules[name]
        sys.modules.update(before)


def instance(kind: type, **attributes: Any) -> Any:
    """An object of a class with those attributes."""
    made = kind()
    vars(made).update(attributes)
    return made


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """torch.nn.Linear's x @ weight.T + bias in double precision."""
    out = x.double() @ weight.double().T
    return out if bias is None else out + bias.double()


def lengths(x: Tensor) -> Tensor:
    """(b, 1) norms of rows."""
    return x.double().square().sum(1, keepdim=True).sqrt()


def relu(h: Tensor) -> Tensor:
    return h.clamp(min=0)


def only_top(values: Tensor, ranks: Tensor, k: int) -> Tensor:
    """Of each row the values whose ranks are the k highest."""
    order = ranks.argsort(dim=1, descending=True)[:, :k]
    return values * torch.zeros_like(values).scatter(1, order, 1.0)


def only_top_of_batch(values: Tensor, ranks: Tensor, k: int) -> Tensor:
    """The values whose ranks are the k * b highest of the whole batch."""
    order = ranks.flatten().argsort(descending=True)[: k * len(values)]
    kept = torch.zeros(values.numel(), dtype=values.dtype)
    kept[order] = 1.0
    return values * kept.view_as(values)


def topk_relu(h: Tensor, k: int) -> Tensor:
    return only_top(relu(h), relu(h), k)


def above(h: Tensor, threshold: Tensor | float) -> Tensor:
    """relu(h) where h exceeds the threshold."""
    return relu(h) * (h > torch.as_tensor(threshold).double())


class Normed(NamedTuple):
    """Standardised activations and what was taken out of them."""

    u: Tensor
    mean: Tensor
    std: Tensor

    def back(self, u: Tensor) -> Tensor:
        return u * self.std + self.mean


def unit_norm(x: Tensor) -> Normed:
    """(x - mean) / (std + 1e-5) with torch's own std, as openai, Prisma, SAELens and bussmann do it."""
    x = x.double()
    mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True)
    return Normed((x - mean) / (std + 1e-5), mean, std)
