"""Files of torch.save, new and old, and plain pickles with tensors in them, as trees."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection
from pathlib import PurePosixPath
from typing import IO, Any

from sae.errors import BadDictionary
from sae.formats.budget import Budget
from sae.formats.rebuilt import rebuilt_functions, storage_dtype
from sae.formats.storages import Storage
from sae.formats.stub_unpickler import StubUnpickler
from sae.formats.tree import TreeBuilder

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_COUNT = struct.Struct("<q")
UNZIPPABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
    KeyError,
    OverflowError,
)
"""What zipfile raises at an archive that is broken."""


def read_member(archive: zipfile.ZipFile, name: str, budget: Budget) -> bytearray:
    """The bytes of one file of an archive, as many as it declares, its checksum compared."""
    found = archive.getinfo(name)
    budget.spend_size(found.file_size)
    with archive.open(found) as stream:
        raw = bytearray(stream.read(found.file_size))
    if len(raw) != found.file_size:
        raise BadDictionary("it is cut off")
    return raw


def open_archive(stream: IO[bytes]) -> zipfile.ZipFile:
    """A zip archive; BadDictionary where it is none or is broken."""
    try:
        return zipfile.ZipFile(stream)
    except UNZIPPABLE as error:
        raise BadDictionary("it is cut off or broken") from error


def read_torch_archive(archive: zipfile.ZipFile, budget: Budget) -> Any:
    """The tree of a zip file of torch.save. BadDictionary."""
    try:
        return _read_archive(archive, budget)
    except UNZIPPABLE as error:
        if isinstance(error, BadDictionary):
            raise
        raise BadDictionary("it is cut off or broken") from error


def read_pickle(raw: bytes, budget: Budget) -> Any:
    """The tree of an old file of torch.save, or of a plain pickle. BadDictionary."""
    return TreeBuilder(budget).build(_unpickle(io.BytesIO(raw), budget, nested=False))


def _read_archive(archive: zipfile.ZipFile, budget: Budget) -> Any:
    names = archive.namelist()
    pickles = [name for name in names if PurePosixPath(name).name == "data.pkl"]
    if len(pickles) != 1:
        raise BadDictionary("it is an archive, but none of torch.save")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in names and read_member(archive, f"{root}byteorder", budget) != b"little":
        raise BadDictionary("it holds numbers in big-endian order")
    storages: dict[tuple[str, str, int], Storage] = {}

    def persistent(identity: Any) -> Storage:
        kind, key, count = _identity(identity)
        found = Storage(storage_dtype(kind), count, lambda: read_member(archive, f"{root}data/{key}", budget))
        return storages.setdefault((str(kind), key, count), found)

    stream = io.BytesIO(read_member(archive, pickles[0], budget))
    return TreeBuilder(budget).build(_machine(stream, budget, persistent, nested=False).load())


def _identity(identity: Any) -> tuple[Any, str, int]:
    """('storage', kind, key, device, count[, view]) of a persistent id."""
    if not (isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == "storage"):
        raise BadDictionary("it refers to something that is no storage")
    _, kind, key, _, count, *view = identity
    if not isinstance(key, str) or type(count) is not int or not 0 <= count < 2**40 or any(view):
        raise BadDictionary("it refers to a storage that is not described as one")
    return kind, key, count


def _machine(
    stream: IO[bytes], budget: Budget, persistent: Callable[[Any], Any], *, nested: bool
) -> StubUnpickler:
    def load_bytes(raw: bytes) -> Any:
        if nested:
            raise BadDictionary("it holds a file within a file within a file")
        return _unpickle(io.BytesIO(raw), budget, nested=True)

    rebuilt = rebuilt_functions(budget, load_bytes)
    return StubUnpickler(stream, rebuilt=rebuilt, persistent=persistent, budget=budget)


def _unpickle(stream: io.BytesIO, budget: Budget, *, nested: bool) -> Any:
    """What the first pickle of a stream holds, or what an old torch file holds if it begins as one."""
    storages: dict[str, Storage] = {}
    contents: dict[str, bytearray] = {}

    def persistent(identity: Any) -> Any:
        if isinstance(identity, tuple) and len(identity) > 1 and identity[0] == "module":
            return identity[1]
        kind, key, count = _identity(identity)
        found = storages.setdefault(key, Storage(storage_dtype(kind), count, lambda: contents[key]))
        if (found.dtype, found.count) != (storage_dtype(kind), count):
            raise BadDictionary("it describes a storage in two ways")
        return found

    def load() -> Any:
        return _machine(stream, budget, persistent, nested=nested).load()

    first = load()
    if first != LEGACY_MAGIC:
        return first
    if load() != _PROTOCOL:
        raise BadDictionary("it is of an unknown version of torch.save")
    load()
    held = load()
    for key in _keys(load(), storages):
        contents[key] = _contents(stream, storages[key], budget)
    return held


def _keys(listed: Any, storages: Collection[str]) -> list[str]:
    if not isinstance(listed, list) or not all(isinstance(key, str) for key in listed):
        raise BadDictionary("it lists no storages")
    if sorted(listed) != sorted(storages):
        raise BadDictionary("it lists other storages than it uses")
    return listed


def _contents(stream: io.BytesIO, storage: Storage, budget: Budget) -> bytearray:
    head = stream.read(_COUNT.size)
    if len(head) < _COUNT.size or _COUNT.unpack(head)[0] != storage.count:
        raise BadDictionary("it is cut off or broken")
    size = storage.count * storage.dtype.itemsize
    budget.spend_size(size)
    raw = bytearray(stream.read(size))
    if len(raw) != size:
        raise BadDictionary("it is cut off")
    return raw
