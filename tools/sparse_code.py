"""Sparse codes as bytes: exact, and a tenth of their JSON."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from tools.protocols import SparseCode

_HEADER = struct.Struct("<BI")
_WIDE_INDICES, _WIDE_VALUES, _DEFLATED = 1, 2, 4
_DEFLATE_FROM = 128
"""Bytes below which zlib's own header outweighs what it saves."""


def encode(code: SparseCode) -> bytes:
    """Smallest of uint16 or uint32 indices, float16 or float32 values, deflated or not, that loses nothing.

    ValueError for a code with a non-finite activation or with unequal lengths.
    """
    indices, values = np.asarray(code.indices), np.asarray(code.values, dtype=np.float32)
    if indices.shape != values.shape or indices.ndim != 1:
        raise ValueError(f"A sparse code has {indices.shape} indices and {values.shape} values: pair them.")
    if not np.isfinite(values).all():
        raise ValueError("A sparse code holds a non-finite activation: check the backbone's precision.")
    flags = 0
    if indices.size and int(indices.max()) > np.iinfo(np.uint16).max:
        flags |= _WIDE_INDICES
    with np.errstate(over="ignore"):
        if not np.array_equal(values.astype(np.float16).astype(np.float32), values):
            flags |= _WIDE_VALUES
    body = indices.astype(_index_type(flags)).tobytes() + values.astype(_value_type(flags)).tobytes()
    if len(body) >= _DEFLATE_FROM and len(deflated := zlib.compress(body)) < len(body):
        body, flags = deflated, flags | _DEFLATED
    return _HEADER.pack(flags, len(indices)) + body


def decode(data: bytes) -> SparseCode:
    """The code that ``encode`` was given, bit for bit."""
    flags, count = _HEADER.unpack_from(data)
    body = data[_HEADER.size :]
    if flags & _DEFLATED:
        body = zlib.decompress(body)
    split = count * _index_type(flags).itemsize
    return SparseCode(
        np.frombuffer(body[:split], dtype=_index_type(flags)).astype(np.int32),
        np.frombuffer(body[split:], dtype=_value_type(flags)).astype(np.float32),
    )


def _index_type(flags: int) -> np.dtype[np.uint16] | np.dtype[np.uint32]:
    return np.dtype("<u4") if flags & _WIDE_INDICES else np.dtype("<u2")


def _value_type(flags: int) -> np.dtype[np.float16] | np.dtype[np.float32]:
    return np.dtype("<f4") if flags & _WIDE_VALUES else np.dtype("<f2")
