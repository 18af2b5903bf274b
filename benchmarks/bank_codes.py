"""Random codes of images for the bank's benchmark, as rows and side by side.

Features differ in density as those of a dictionary do, and images of one prompt share most of theirs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tools.bank import BankRow
from tools.bank_segment import Batch
from tools.protocols import SparseCode

PER_PROMPT = 4
SHARED = 0.7
"""Of an image's features that are its prompt's."""
SPREAD = 1.5
"""Standard deviation of the log density of features."""
TABLE = 2**22
WORDS = (
    "a",
    "red",
    "fish",
    "striped",
    "boat",
    "on the",
    "water",
    "under an",
    "old",
    "green",
    "tree",
    "at night",
)


class World(NamedTuple):
    """What the codes are drawn from."""

    table: npt.NDArray[np.uint32]
    """Features, each as often as it is dense."""
    l0: int
    rng: np.random.Generator


class Codes(NamedTuple):
    """Of n images, several a prompt."""

    row: npt.NDArray[np.uint32]
    feature: npt.NDArray[np.uint32]
    value: npt.NDArray[np.float32]


def world(features: int, l0: int, *, seed: int) -> World:
    """Features with log-normal densities."""
    rng = np.random.default_rng(seed)
    density = np.exp(rng.normal(0, SPREAD, features))
    ends = np.round(np.cumsum(density) / density.sum() * TABLE).astype(np.int64)
    table = np.repeat(np.arange(features, dtype=np.uint32), np.diff(ends, prepend=0))
    return World(table, l0, rng)


def codes(given: World, images: int) -> Codes:
    """Rows ascend, and features in each; a few fewer than l0 where two fell together."""
    table, l0, rng = given
    prompts = -(-images // PER_PROMPT)
    own = table[rng.integers(0, len(table), (prompts, l0), dtype=np.uint32)]
    drawn = np.repeat(own, PER_PROMPT, axis=0)[:images]
    other = rng.random((images, l0), dtype=np.float32) > SHARED
    drawn[other] = table[rng.integers(0, len(table), int(other.sum()), dtype=np.uint32)]
    drawn.sort(axis=1)
    kept = np.ones(drawn.shape, dtype=bool)
    kept[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    rows = np.repeat(np.arange(images, dtype=np.uint32), kept.sum(axis=1))
    values = rng.standard_exponential(len(rows), dtype=np.float32) + np.float32(0.01)
    return Codes(rows, drawn[kept], values)


def prompt_of(number: int) -> str:
    """About 60 characters, each prompt another."""
    return " ".join(WORDS[number // 7**at % len(WORDS)] for at in range(10)) + f" {number}"


def rows_of(given: World, images: int, *, first: int) -> list[BankRow]:
    """Banked images one by one."""
    told, ids = codes(given, images), given.rng.bytes(32 * images).hex()
    starts = np.searchsorted(told.row, np.arange(images + 1))
    return [
        BankRow(
            ids[64 * at : 64 * at + 64],
            prompt_of(first + at // PER_PROMPT),
            at,
            SparseCode(told.feature[low:high].astype(np.int32), told.value[low:high]),
        )
        for at, (low, high) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))
    ]


def batch_of(given: World, images: int, *, first: int) -> Batch:
    """Banked images side by side; their prompts are new ones, numbered from ``first``."""
    told, numbers = codes(given, images), np.arange(images, dtype=np.uint32) // PER_PROMPT + first
    return Batch(
        image=given.rng.integers(0, 256, (images, 32), dtype=np.uint8),
        seed=np.arange(images, dtype=np.uint32) % 2**31,
        prompt=numbers.astype(np.uint32),
        row=told.row,
        feature=told.feature,
        value=told.value,
        prompts=[prompt_of(number) for number in range(first, first + -(-images // PER_PROMPT))],
    )
