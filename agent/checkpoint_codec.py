"""Checkpoints as bytes: what a row, a value and a pending write look like in Redis."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import ormsgpack
from langgraph.checkpoint.base import (
    Checkpoint,
    CheckpointMetadata,
    PendingWrite,
    get_checkpoint_id,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from tools.errors import IntegrityError

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

_DEFLATE_FROM = 512
"""Bytes below which deflating costs more time than it saves space."""
_SAFE_FORMATS = frozenset({"null", "bytes", "bytearray", "msgpack"})
"""What the serializer writes today. Its older formats can name a class to build, so they are never read."""


class Place(NamedTuple):
    """Where a config points."""

    thread: str
    namespace: str
    checkpoint: str | None

    @classmethod
    def of(cls, config: RunnableConfig) -> Place:
        told = config["configurable"]
        return cls(str(told["thread_id"]), told.get("checkpoint_ns", ""), get_checkpoint_id(config))

    @property
    def config(self) -> RunnableConfig:
        configurable = {"thread_id": self.thread, "checkpoint_ns": self.namespace}
        if self.checkpoint:
            configurable["checkpoint_id"] = self.checkpoint
        return {"configurable": configurable}

    @property
    def member(self) -> bytes:
        """Name of the checkpoint within its thread; of one namespace, they sort by time."""
        return f"{self.namespace}\0{self.checkpoint or ''}".encode()

    def at(self, member: bytes) -> Place:
        """The place of another checkpoint of this thread."""
        namespace, _, checkpoint = member.decode().partition("\0")
        return Place(self.thread, namespace, checkpoint)


class Row(NamedTuple):
    """A checkpoint without its values."""

    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    parent: str

    def value_fields(self, namespace: str) -> dict[str, bytes]:
        """Channel -> the field of the thread's values that holds its version in this checkpoint."""
        versions = self.checkpoint["channel_versions"].items()
        return {channel: value_field(namespace, channel, version) for channel, version in versions}

    def matches(self, wanted: dict[str, Any] | None) -> bool:
        """Whether the metadata hold every wanted entry."""
        told: dict[str, Any] = dict(self.metadata)
        return all(told.get(name) == value for name, value in (wanted or {}).items())


def value_field(namespace: str, channel: str, version: str | int | float) -> bytes:
    """The field of a thread's values that holds one version of a channel."""
    return f"{namespace}\0{channel}\0{version}".encode()


def dump(serde: SerializerProtocol, value: object) -> bytes:
    """Format, a flag and the serialized value, deflated where that is shorter."""
    kind, payload = serde.dumps_typed(value)
    if len(payload) >= _DEFLATE_FROM and len(deflated := zlib.compress(payload, 1)) < len(payload):
        return f"{kind}\0z\0".encode() + deflated
    return f"{kind}\0r\0".encode() + payload


def load(serde: SerializerProtocol, data: bytes) -> Any:
    """What was dumped; IntegrityError for bytes that ``dump`` cannot have written."""
    kind, _, rest = data.partition(b"\0")
    flag, _, payload = rest.partition(b"\0")
    if kind.decode(errors="replace") not in _SAFE_FORMATS or flag not in (b"r", b"z"):
        raise IntegrityError(
            f"A checkpoint is stored as {kind[:20]!r}, which is never read: delete its thread."
        )
    try:
        return serde.loads_typed((kind.decode(), zlib.decompress(payload) if flag == b"z" else payload))
    except (zlib.error, ValueError) as error:
        raise IntegrityError(f"A checkpoint cannot be read ({error}): delete its thread.") from error


def dump_row(serde: SerializerProtocol, row: Row) -> bytes:
    """The row without ``channel_values``."""
    bare = {name: part for name, part in row.checkpoint.items() if name != "channel_values"}
    return ormsgpack.packb([dump(serde, bare), dump(serde, row.metadata), row.parent])


def load_row(serde: SerializerProtocol, data: bytes) -> Row:
    """The row; its checkpoint has no ``channel_values`` yet."""
    checkpoint, metadata, parent = _unpack(data)
    return Row(load(serde, checkpoint), load(serde, metadata), parent)


def dump_write(serde: SerializerProtocol, channel: str, value: object, *, path: str) -> bytes:
    """One pending write of the task at ``path``."""
    return ormsgpack.packb([path, channel, dump(serde, value)])


def load_writes(serde: SerializerProtocol, fields: dict[bytes, bytes]) -> list[PendingWrite]:
    """A checkpoint's pending writes in the order in which live execution applies them."""
    found = []
    for field, data in fields.items():
        task, _, index = field.decode().rpartition("\0")
        path, channel, value = _unpack(data)
        found.append((writes_sort_key(path, task, int(index)), (task, channel, load(serde, value))))
    return [write for _, write in sorted(found, key=lambda pair: pair[0])]


def _unpack(data: bytes) -> tuple[Any, Any, Any]:
    try:
        first, second, third = ormsgpack.unpackb(data)
    except (TypeError, ValueError) as error:
        raise IntegrityError(f"A checkpoint cannot be read ({error}): delete its thread.") from error
    return first, second, third
