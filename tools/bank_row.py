"""What the bank holds of one image, as a record and as the bytes of a tail row."""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

import numpy as np

from tools import sparse_code
from tools.protocols import SparseCode

SEALED_FROM = 2**31
"""Seeds from here on are not the search's; the judge draws with seeds of 2**32 and more."""
IMAGE_BYTES = 32
_HEAD = struct.Struct(f"<{IMAGE_BYTES}sII")


class BankRow(NamedTuple):
    """One image of a search."""

    image: str
    prompt: str
    seed: int
    code: SparseCode


def pack(row: BankRow) -> bytes:
    """The row as bytes, which begin with the image's id. Activations are exact; zeros are left out.

    ValueError for a sealed seed, an id that is no sha256, or a code that is not as its type says.
    """
    if not 0 <= row.seed < SEALED_FROM:
        raise ValueError(f"Seed {row.seed} is not a search's: sealed images are never banked.")
    image = bytes.fromhex(row.image)
    if len(image) != IMAGE_BYTES:
        raise ValueError(f"Image id {row.image[:80]!r} is not a sha256: give 64 hex digits.")
    prompt = row.prompt.encode()
    return _HEAD.pack(image, row.seed, len(prompt)) + prompt + sparse_code.encode(_checked(row.code))


def unpack(data: bytes) -> BankRow:
    """The row that ``pack`` was given."""
    image, seed, length = _HEAD.unpack_from(data)
    end = _HEAD.size + length
    return BankRow(image.hex(), data[_HEAD.size : end].decode(), seed, sparse_code.decode(data[end:]))


def prompt_head(prompt: str) -> int:
    """The number by which a prompt is looked up; two prompts may share it."""
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "big")


def _checked(code: SparseCode) -> SparseCode:
    indices, values = np.asarray(code.indices), np.asarray(code.values)
    if indices.size and (int(indices[0]) < 0 or (np.diff(indices.astype(np.int64)) <= 0).any()):
        raise ValueError(f"A sparse code has the indices {indices[:9]}…: they ascend from 0 or above.")
    if indices.shape != values.shape or values.all():
        return code
    return SparseCode(indices[values != 0], values[values != 0])
