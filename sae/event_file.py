"""TensorBoard's event files, written and read without its package: scalars in framed protobuf records.

A record is its length (uint64), a masked CRC-32C of that, the bytes of an Event message and theirs.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from sae.errors import BadEvents

PATTERN = "*tfevents*"
CHECKED = 4096
"""Records up to so many bytes have their sum checked; longer ones, images and graphs, hold no scalar."""


class Scalar(NamedTuple):
    """One value of one tag."""

    tag: str
    step: int
    value: float
    wall_time: float
    """Seconds since 1970."""


class EventWriter:
    """Appends scalars to an event file of its own in a folder; use it as a context manager.

    With ``purge_step`` TensorBoard forgets what earlier files of the folder say from that step on.
    """

    def __init__(self, folder: Path, *, purge_step: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time_ns()
        name = f"events.out.tfevents.{now // 10**9}.{socket.gethostname()}.{os.getpid()}.{now % 10**9}"
        self._file = (folder / name).open("xb")
        self._write(_event(_field(3, b"brain.Event:2"), step=0))
        if purge_step is not None:
            # A session log with status START.
            self._write(_event(_field(7, _tag(1, 0) + _varint(1)), step=purge_step))

    def add(self, values: Mapping[str, float], *, step: int) -> None:
        """Append a value of each tag, and hand them to the operating system."""
        summary = b"".join(
            _field(1, _field(1, tag.encode()) + _tag(2, 5) + struct.pack("<f", value))
            for tag, value in values.items()
        )
        self._write(_event(_field(5, summary), step=step))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, message: bytes) -> None:
        length = struct.pack("<Q", len(message))
        self._file.write(length + _sum_bytes(length) + message + _sum_bytes(message))


def read_events(path: Path) -> Iterator[Scalar]:
    """Every scalar of an event file, in order; what is half written at its end is left out.

    BadEvents when it is no event file or damaged. Values may be plain or, as TensorFlow 2 writes them,
    tensors of one float.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadEvents(f"{path} cannot be read ({error.strerror}); give a folder of event files.") from error
    for message in _records(raw, path):
        try:
            yield from _scalars(message)
        except (ValueError, struct.error, IndexError) as error:
            raise BadEvents(f"{path} holds a damaged event; log the training again.") from error


def read_log(folder: Path) -> list[Scalar]:
    """Every scalar below a folder, by tag and step: of a step logged twice the later one, by its clock.

    A tag begins with the path of its file below the folder. BadEvents when there is no event file.
    """
    paths = sorted(folder.rglob(PATTERN)) if folder.is_dir() else [folder]
    if not paths:
        raise BadEvents(f"{folder} holds no event file; give the folder of a training's logs.")
    found: dict[tuple[str, int], Scalar] = {}
    for path in paths:
        where = path.parent.relative_to(folder) if folder.is_dir() else Path()
        for scalar in read_events(path):
            named = scalar._replace(tag=(where / scalar.tag).as_posix())
            before = found.get((named.tag, named.step))
            if before is None or before.wall_time <= named.wall_time:
                found[named.tag, named.step] = named
    return [found[key] for key in sorted(found)]


def masked_crc32c(data: bytes) -> int:
    """The sum of TFRecord: CRC-32C (Castagnoli), rotated right by 15 bits, plus a constant."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def _sum_bytes(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))


def _records(raw: bytes, path: Path) -> Iterator[bytes]:
    at = 0
    while at + 12 <= len(raw):
        head = raw[at : at + 8]
        if raw[at + 8 : at + 12] != _sum_bytes(head):
            raise BadEvents(f"{path} is no event file, or damaged at byte {at}; log the training again.")
        begin = at + 12
        end = begin + struct.unpack("<Q", head)[0]
        if end + 4 > len(raw):
            return
        message = raw[begin:end]
        if len(message) <= CHECKED:
            if raw[end : end + 4] != _sum_bytes(message):
                raise BadEvents(f"{path} is damaged at byte {begin}; log the training again.")
            yield message
        at = end + 4


def _event(content: bytes, *, step: int) -> bytes:
    return _tag(1, 1) + struct.pack("<d", time.time()) + _tag(2, 0) + _varint(step) + content


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _field(number: int, content: bytes) -> bytes:
    return _tag(number, 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("A varint has more than ten bytes.")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Every field of a message: its number and its integer, or its bytes."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        wire = key & 7
        if wire == 0:
            value, at = _read_varint(message, at)
            yield key >> 3, value
            continue
        if wire == 2:
            length, at = _read_varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"A field has wire type {wire}.")
        if at + length > len(message):
            raise ValueError("A field is longer than its message.")
        yield key >> 3, message[at : at + length]
        at += length


def _scalars(message: bytes) -> Iterator[Scalar]:
    wall_time, step, summaries = 0.0, 0, []
    for number, value in _fields(message):
        if number == 1 and isinstance(value, bytes):
            wall_time = struct.unpack("<d", value)[0]
        elif number == 2 and isinstance(value, int):
            step = value - 2**64 if value >= 2**63 else value
        elif number == 5 and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for number, value in _fields(summary):
            if number == 1 and isinstance(value, bytes):
                yield from _value(value, step, wall_time)


def _value(content: bytes, step: int, wall_time: float) -> Iterator[Scalar]:
    fields = dict(_fields(content))
    tag, plain, tensor = fields.get(1), fields.get(2), fields.get(8)
    if not isinstance(tag, bytes):
        return
    value: float | None = None
    if isinstance(plain, bytes) and len(plain) == 4:
        value = struct.unpack("<f", plain)[0]
    elif isinstance(tensor, bytes):
        value = _one_number(tensor)
    if value is not None:
        yield Scalar(tag.decode("utf-8", "replace"), step, value, wall_time)


def _one_number(tensor: bytes) -> float | None:
    """The number of a TensorProto of one float or double; None of any other."""
    fields = dict(_fields(tensor))
    held = {1: ("<f4", (4, 5)), 2: ("<f8", (4, 6))}.get(_integer(fields.get(1)))
    if held is None:
        return None
    dtype, places = held
    for place in places:
        raw = fields.get(place)
        if isinstance(raw, bytes) and len(raw) == np.dtype(dtype).itemsize:
            return float(np.frombuffer(raw, dtype)[0])
    return None


def _integer(value: int | bytes | None) -> int:
    return value if isinstance(value, int) else -1
