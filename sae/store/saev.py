"""saev's shards: metadata.json, shards.json and acts%06d.bin of float32 (image, layer, token, d)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sae.errors import BadStore, WrongStore
from sae.store.foreign import Array, ForeignStore, Piece, refuse_layer
from sae.store.manifest import Scope

METADATA_FILE, SHARDS_FILE, LABELS_FILE = "metadata.json", "shards.json", "labels.bin"


class Metadata(BaseModel):
    """What is needed of metadata.json, by the names of its protocol 1 and of later ones."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    layers: tuple[int, ...] = Field(min_length=1)
    patches: int = Field(
        gt=0, lt=2**31, validation_alias=AliasChoices("content_tokens_per_example", "n_patches_per_img")
    )
    cls_token: bool
    width: int = Field(gt=0, lt=2**31, validation_alias=AliasChoices("d_model", "d_vit"))
    images: int = Field(ge=0, lt=2**40, validation_alias=AliasChoices("n_examples", "n_imgs"))
    family: str = Field(default="", validation_alias=AliasChoices("family", "vit_family"))
    checkpoint: str = Field(default="", validation_alias=AliasChoices("ckpt", "vit_ckpt"))
    dtype: str = "float32"

    @property
    def tokens(self) -> int:
        """Stored of every image and layer, the class token first where there is one."""
        return self.patches + int(self.cls_token)


class ShardFile(BaseModel):
    """A line of shards.json."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$")
    images: int = Field(ge=0, validation_alias=AliasChoices("n_examples", "n_imgs"))


def is_saev(folder: Path) -> bool:
    """Whether a folder holds saev's shards."""
    return (folder / METADATA_FILE).is_file() and any(folder.glob("acts*.bin"))


def open_saev(folder: Path, *, layer: int | None = None, scope: Scope = "patch") -> ForeignStore:
    """One layer of saev's shards; None: the only one. BadStore: no such layer, or a file is too short."""
    metadata = read_metadata(folder)
    if layer is None and len(metadata.layers) > 1:
        raise WrongStore(f"{folder} holds the layers {', '.join(map(str, metadata.layers))}; say which.")
    wanted = metadata.layers[0] if layer is None else layer
    refuse_layer(folder, wanted, metadata.layers)
    tokens = _tokens(folder, metadata, scope)
    pieces = tuple(
        Piece(shard.images, _opener(folder / shard.name, shard.images, metadata, at=(wanted, tokens)))
        for shard in _shards(folder, metadata)
    )
    count = len(range(*tokens.indices(metadata.tokens)))
    return ForeignStore(folder, f"layer {wanted}", scope, metadata.width, count, torch.float32, pieces)


def read_metadata(folder: Path) -> Metadata:
    """What metadata.json says. BadStore where it cannot be read as what it should be."""
    metadata: Metadata = _validated(folder / METADATA_FILE, TypeAdapter(Metadata))
    if metadata.dtype != "float32":
        raise BadStore(f"{folder} holds {metadata.dtype} numbers; only float32 shards are known.")
    return metadata


def open_labels(folder: Path) -> npt.NDArray[np.uint8] | None:
    """(images, patches) classes of the patches, where somebody labelled them. BadStore at another size."""
    path, metadata = folder / LABELS_FILE, read_metadata(folder)
    if not path.is_file():
        return None
    shape = (metadata.images, metadata.patches)
    if path.stat().st_size != shape[0] * shape[1]:
        raise BadStore(f"{path} has {path.stat().st_size} bytes, not {shape[0] * shape[1]}; get it again.")
    return np.memmap(path, np.uint8, mode="r", shape=shape)


def _tokens(folder: Path, metadata: Metadata, scope: Scope) -> slice:
    if scope == "pooled" or (scope == "cls" and not metadata.cls_token):
        raise WrongStore(f"{folder} holds no {scope!r} token; take patch or all.")
    first = int(metadata.cls_token)
    return {"cls": slice(0, 1), "patch": slice(first, None), "all": slice(None)}[scope]


def _shards(folder: Path, metadata: Metadata) -> list[ShardFile]:
    if (folder / SHARDS_FILE).is_file():
        shards = _validated(folder / SHARDS_FILE, TypeAdapter(list[ShardFile]))
    else:
        # The first versions wrote none: every file is full but the last.
        shards, left = [], metadata.images
        for path in sorted(folder.glob("acts*.bin")):
            held = min(left, path.stat().st_size // _image_bytes(metadata))
            shards.append(ShardFile.model_validate({"name": path.name, "n_imgs": held}))
            left -= held
    if sum(shard.images for shard in shards) != metadata.images:
        raise BadStore(f"{folder} tells {metadata.images} images and its shards do not add up; get it again.")
    for shard in shards:
        _refuse_short(folder / shard.name, shard.images * _image_bytes(metadata))
    return [shard for shard in shards if shard.images]


def _refuse_short(path: Path, needed: int) -> None:
    size = path.stat().st_size if path.is_file() else 0
    # The last file is as long as the others, with zeros after its images.
    if size < needed:
        raise BadStore(f"{path} has {size} bytes, fewer than the {needed} of its images; get it again.")


def _opener(path: Path, images: int, metadata: Metadata, *, at: tuple[int, slice]) -> Callable[[], Array]:
    layer, tokens = at
    shape = (images, len(metadata.layers), metadata.tokens, metadata.width)

    def opened() -> Array:
        return np.memmap(path, "<f4", mode="r", shape=shape)[:, metadata.layers.index(layer), tokens]

    return opened


def _image_bytes(metadata: Metadata) -> int:
    return len(metadata.layers) * metadata.tokens * metadata.width * 4


def _validated(path: Path, adapter: TypeAdapter[Any]) -> Any:
    try:
        return adapter.validate_python(json.loads(path.read_bytes()))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise BadStore(f"{path} is not what saev writes: {where}: {fault['msg']}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadStore(f"{path} cannot be read as JSON; get it again.") from error
