"""What an activation store says about itself: its plan, its shards, their sums. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from sae.card import BackboneSpec
from sae.errors import BadStore
from sae.feature import Frozen

PLAN_FILE, MANIFEST_FILE = "plan.json", "manifest.json"
SHARDS, IMAGES = "shards", "images"
"""Folders of the shards' records and of the images' ids; every hook point has a folder of its own beside."""

Scope = Literal["cls", "patch", "all", "pooled"]
"""Which tokens of an image: the class token, the patches, every one, or the one vector there is."""
Dtype = Literal["fp16", "bf16", "fp32"]
ITEM_BYTES: dict[Dtype, int] = {"fp16": 2, "bf16": 2, "fp32": 4}

Sum = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**62)]
Record = TypeVar("Record", bound=Frozen)


class HookPart(Frozen):
    """One hook point of a store, in a folder of its own."""

    hook_point: str = Field(min_length=1)
    folder: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$")
    scope: Scope
    width: int = Field(gt=0, lt=2**31)
    tokens: int = Field(gt=0, lt=2**31)
    """Rows of every image."""
    prefix: int = Field(default=0, ge=0)
    """How many of them, the first, are class and register tokens."""
    grid: tuple[int, int] | None = None
    """Rows and columns of the patches, where they are a grid."""


class Plan(Frozen):
    """What is to be stored. Two commands with equal plans write the same store."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    source: str
    source_fingerprint: str
    """Of the list of images."""
    images: Count
    """In the source, readable or not."""
    backbone: BackboneSpec | None
    """None for a converted store."""
    backbone_fingerprint: str | None
    parts: tuple[HookPart, ...] = Field(min_length=1)
    dtype: Dtype
    shard_images: int = Field(gt=0)
    """Images of the source that a shard covers."""
    skip_unreadable: bool = True
    """Whether an image that cannot be decoded is left out and counted; else extraction stops there."""

    def bounds(self, shard: int) -> range:
        """The rows of the source that a shard covers."""
        return range(shard * self.shard_images, min(self.images, (shard + 1) * self.shard_images))

    @property
    def n_shards(self) -> int:
        return -(-self.images // self.shard_images)


class FileSum(Frozen):
    """A file's size and content."""

    bytes: Count
    sha256: Sum


class ImageEntry(Frozen):
    """One image of a shard: a line of its image file."""

    row: Count
    """In the source."""
    image: str
    """Its path inside the folder, or its number in the set."""
    sha256: str | None = None
    label: str | None = None


class Skipped(Frozen):
    """An image that could not be decoded."""

    row: Count
    image: str
    why: str


class Shard(Frozen):
    """A shard that is whole: its files, each hook point's by its folder, and the file of its images."""

    number: Count
    images: Count
    """Images in it."""
    entries: FileSum
    files: dict[str, FileSum]
    skipped: tuple[Skipped, ...] = ()


class PartMoments(Frozen):
    """Moments of a hook point's rows in one shard, or in all."""

    count: Count
    mean: tuple[float, ...]
    squares: tuple[float, ...]
    """Summed squared deviations from the mean."""


class ShardRecord(Frozen):
    """What lies in ``shards/``: its existence means the shard is whole."""

    shard: Shard
    moments: dict[str, PartMoments]


class Statistics(Frozen):
    """A hook point's rows in figures, in float64."""

    rows: Count
    mean: tuple[float, ...]
    variance: tuple[float, ...]
    gamma: float | None
    """||mean|| / ||standard deviation||; None where nothing varies."""


class Manifest(Frozen):
    """What manifest.json says; it is written last, so its existence means the store is whole."""

    plan: Plan
    images: Count
    """Images stored."""
    data_fingerprint: Sum
    """Over the ids of all images stored, in order."""
    shards: tuple[Shard, ...]
    statistics: dict[str, Statistics]
    """By the hook point's folder."""

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Every image that could not be decoded."""
        return tuple(each for shard in self.shards for each in shard.skipped)


def read_record(path: Path, kind: type[Record]) -> Record:
    """A JSON file of a store as the record it should be; BadStore in one sentence where it is not."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadStore(f"{path} cannot be read ({error.strerror}); extract the activations again.") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise BadStore(
            f"{path} is not what an activation store holds: {where}: {fault['msg']}; extract it again."
        ) from error


def as_json(record: Frozen) -> bytes:
    """A record as the bytes of its file."""
    return record.model_dump_json(by_alias=True).encode() + b"\n"


def as_lines(entries: Sequence[ImageEntry]) -> bytes:
    """A shard's image file."""
    return b"".join(as_json(entry) for entry in entries)


def read_lines(path: Path) -> tuple[ImageEntry, ...]:
    """The images of a shard; BadStore where the file is not what it should be."""
    try:
        return tuple(
            ImageEntry.model_validate(json.loads(line)) for line in path.read_bytes().splitlines() if line
        )
    except (OSError, ValueError, RecursionError) as error:
        raise BadStore(
            f"{path} does not list the images of a shard; extract the activations again."
        ) from error


def shard_name(number: int, suffix: str = "") -> str:
    """The name of a shard's files, '00017.bin'."""
    return f"{number:05d}{suffix}"
