"""Tensors of a pickle before their numbers are read, and their making with every size checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sae.errors import BadDictionary

DTYPES: dict[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
"""Kinds of storage by the last part of their name."""

_SPREAD = 2**20
"""Numbers an expanded tensor may have beyond those of its storage."""


@dataclass(eq=False)
class Storage:
    """Numbers somewhere in a file."""

    dtype: torch.dtype
    count: int
    """As the file declares it; checked against the bytes there are."""
    read: Callable[[], bytearray]

    def numbers(self, dtype: torch.dtype | None = None) -> Tensor:
        """(count,) of ``dtype``, else of its own. BadDictionary where there are fewer or more bytes."""
        raw = self.read()
        room = self.count * self.dtype.itemsize
        if not room <= len(raw) < room + self.dtype.itemsize:
            raise BadDictionary(f"it declares {self.count} numbers where {len(raw)} bytes are")
        wanted = dtype or self.dtype
        count = room // wanted.itemsize
        if not count:
            return torch.empty(0, dtype=wanted)
        if wanted is torch.bool:
            return torch.frombuffer(raw, dtype=torch.uint8, count=count).ne(0)
        return torch.frombuffer(raw, dtype=wanted, count=count)


@dataclass(eq=False)
class PendingTensor:
    """A view into a storage that may not have been reached yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype | None = None
    """Where it is not the storage's own."""

    def tensor(self, numbers: Callable[[Storage, torch.dtype | None], Tensor]) -> Tensor:
        """The view; BadDictionary where it reaches out of its storage."""
        held = numbers(self.storage, self.dtype)
        reach = self.offset + sum(
            (size - 1) * step for size, step in zip(self.shape, self.stride, strict=True)
        )
        size = math.prod(self.shape)
        if size and (reach >= len(held) or size > max(len(held), _SPREAD)):
            raise BadDictionary(f"it holds a tensor of shape {self.shape} where {len(held)} numbers are")
        return held.as_strided(self.shape, self.stride, self.offset) if size else held.new_empty(self.shape)


def pending(storage: Any, offset: Any, shape: Any, stride: Any) -> PendingTensor:
    """A view as a pickle describes it; BadDictionary where that is no description of one."""
    sizes, steps = _whole(shape), _whole(stride)
    if not isinstance(storage, Storage) or len(sizes) != len(steps) or len(sizes) > 8:
        raise BadDictionary("it holds a tensor that is not described as one")
    (start,) = _whole([offset])
    return PendingTensor(storage, start, sizes, steps)


def _whole(numbers: Any) -> tuple[int, ...]:
    if not isinstance(numbers, tuple | list) or not all(
        type(number) is int and 0 <= number < 2**40 for number in numbers
    ):
        raise BadDictionary("it holds a tensor whose sizes are no sizes")
    return tuple(numbers)
