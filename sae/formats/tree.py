"""From what a pickle or a JSON file held to a tree of plain values, with its size and its depth bounded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sae.errors import BadDictionary
from sae.formats.bag import Bag
from sae.formats.budget import Budget
from sae.formats.rebuilt import NumpyArray, NumpyDtype, plain_name
from sae.formats.storages import PendingTensor, Storage
from sae.formats.stub_unpickler import Name

DEEPEST = 64
ITSELF = "itself"
"""The name of the Bag that stands where an object holds itself."""


class TreeBuilder:
    """Makes one tree. What a file shares between places is shared in the tree, and counted at each place."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._made: dict[int, tuple[Any, int]] = {}
        self._kept: list[Any] = []
        self._open: set[int] = set()
        self._numbers: dict[tuple[int, torch.dtype | None], Tensor] = {}

    def build(self, raw: Any) -> Any:
        """The tree: str-keyed dicts, lists, tensors, Bags and plain values. BadDictionary."""
        try:
            made, size = self._node(raw, 0)
        except (RuntimeError, OverflowError, ValueError) as error:
            if isinstance(error, BadDictionary):
                raise
            raise BadDictionary("it holds a tensor that cannot be made") from error
        self._budget.spend_steps(size)
        return made

    def _node(self, raw: Any, depth: int) -> tuple[Any, int]:
        """The node and how many nodes there are from it downwards, shared ones counted at each place."""
        if not isinstance(raw, dict | list | tuple | Bag):
            return self._leaf(raw), 1
        if depth > DEEPEST:
            raise BadDictionary(f"it is nested deeper than {DEEPEST} levels")
        if id(raw) in self._open:
            return Bag(ITSELF), 1
        if id(raw) not in self._made:
            self._open.add(id(raw))
            made, size = self._parts(raw, depth + 1)
            self._open.discard(id(raw))
            self._kept.append(raw)
            # Capped: sums of shared parts may grow without bounds.
            self._made[id(raw)] = made, min(size, 2**62)
        return self._made[id(raw)]

    def _parts(self, raw: Any, depth: int) -> tuple[Any, int]:
        if isinstance(raw, dict):
            return self._items(raw, depth)
        if isinstance(raw, Bag):
            attributes, first = self._items(raw.attributes, depth)
            arguments, second = self._list(raw.arguments, depth)
            return Bag(raw.name, attributes, arguments), 1 + first + second
        return self._list(raw, depth)

    def _items(self, raw: dict[Any, Any], depth: int) -> tuple[dict[str, Any], int]:
        nodes = {str(key): self._node(value, depth) for key, value in raw.items()}
        return {key: made for key, (made, _) in nodes.items()}, 1 + sum(size for _, size in nodes.values())

    def _list(self, raw: Any, depth: int) -> tuple[list[Any], int]:
        nodes = [self._node(value, depth) for value in raw]
        return [made for made, _ in nodes], 1 + sum(size for _, size in nodes)

    def _leaf(self, raw: Any) -> Any:
        if isinstance(raw, PendingTensor):
            return raw.tensor(self._read)
        if isinstance(raw, Storage):
            return self._read(raw, None)
        if isinstance(raw, NumpyArray):
            return Bag("numpy.ndarray") if raw.pending is None else raw.pending.tensor(self._read)
        if isinstance(raw, NumpyDtype):
            return raw.code
        if isinstance(raw, Name):
            return plain_name(raw)
        if isinstance(raw, int) and abs(raw) >= 2**63:
            raise BadDictionary("it holds a whole number of more than 64 bits")
        return raw

    def _read(self, storage: Storage, dtype: torch.dtype | None) -> Tensor:
        key = id(storage), dtype
        if key not in self._numbers:
            self._kept.append(storage)
            self._numbers[key] = storage.numbers(dtype)
        return self._numbers[key]
