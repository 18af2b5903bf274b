"""Streams of activations: batches in an order that a seed fixes and that can begin anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class ActivationStream(Protocol):
    """Activations to train on, again and again in another order, without an end."""

    @property
    def width(self) -> int:
        """d of every activation."""
        ...

    @property
    def rows(self) -> int | None:
        """Activations of one epoch; None where nobody has counted them."""
        ...

    def batches(self, batch_size: int, *, seed: int, start: int = 0) -> Iterator[Tensor]:
        """(batch_size, d) batches without end, all full, the first of them being batch ``start``.

        Size and seed fix the order: what is read from ``start`` on is what follows in a read from 0.
        """
        ...


class MemoryStream:
    """(n, d) activations that lie in memory; implements ActivationStream.

    Every epoch is a shuffle of its own; a batch runs over the end of one into the next. ValueError for
    another shape, or none of them.
    """

    def __init__(self, activations: Tensor) -> None:
        if activations.ndim != 2 or not len(activations):
            raise ValueError(f"Activations have shape {tuple(activations.shape)}; give (n, d) with n > 0.")
        self._activations = activations

    @property
    def width(self) -> int:
        return self._activations.shape[1]

    @property
    def rows(self) -> int:
        return len(self._activations)

    def batches(self, batch_size: int, *, seed: int, start: int = 0) -> Iterator[Tensor]:
        epoch, passed = divmod(start * batch_size, self.rows)
        left = self._order(epoch, seed)[passed:]
        while True:
            while len(left) < batch_size:
                epoch += 1
                left = torch.cat([left, self._order(epoch, seed)])
            yield self._activations[left[:batch_size]]
            left = left[batch_size:]

    def _order(self, epoch: int, seed: int) -> Tensor:
        mixed = int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
        return torch.randperm(self.rows, generator=torch.Generator().manual_seed(mixed))


@dataclass(frozen=True)
class DeviceStream:
    """Another stream's batches, on a device; implements ActivationStream."""

    stream: ActivationStream
    device: torch.device | str

    @property
    def width(self) -> int:
        return self.stream.width

    @property
    def rows(self) -> int | None:
        return self.stream.rows

    def batches(self, batch_size: int, *, seed: int, start: int = 0) -> Iterator[Tensor]:
        for batch in self.stream.batches(batch_size, seed=seed, start=start):
            yield batch.to(self.device, non_blocking=True)
