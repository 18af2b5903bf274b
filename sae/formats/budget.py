"""How much work a file may cause, in proportion to its size: what keeps a small file from taking long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sae.errors import BadDictionary

MANY = 100_000
ROOM = 16 * 2**20
INFLATION = 32
"""Weights hardly compress; a bomb does a thousandfold."""


@dataclass
class Budget:
    """What is left to spend on one file. Every ``spend_`` raises BadDictionary where it is not enough."""

    steps: int
    """Pickle opcodes and nodes of the tree."""
    size: int
    """Bytes unpacked."""

    @classmethod
    def of(cls, file_size: int) -> Self:
        """The budget of a file of so many bytes."""
        return cls(steps=max(MANY, file_size), size=max(ROOM, INFLATION * file_size))

    def spend_steps(self, count: int = 1) -> None:
        self.steps -= count
        if self.steps < 0:
            raise BadDictionary("it holds far more parts than a file of its size should")

    def spend_size(self, count: int) -> None:
        self.size -= count
        if self.size < 0:
            raise BadDictionary("it unpacks to far more than a file of its size should")
