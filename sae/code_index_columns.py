"""The columns of a code index: plain .npy files, memory-mapped, and the card that makes them one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from sae.column_file import column_file, map_column
from sae.errors import BadIndex
from sae.feature import Frozen
from sae.whole_file import whole_file

CARD_FILE = "index.json"

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Rows = npt.NDArray[np.uint32]
Bytes = npt.NDArray[np.uint8]


class Columns(NamedTuple):
    """n images, F features, z non-zero activations, stored by image and again by feature."""

    offsets: Longs
    """(n + 1,) where the activations of each image begin."""
    features: Ints
    """(z,) ascending inside each image."""
    values: Floats
    """(z,)"""
    starts: Longs
    """(F + 1,) where the images of each feature begin."""
    rows: Rows
    """(z,) images of each feature, strongest first; ties by row."""
    ranked: Floats
    """(z,) the activations there, falling inside each feature."""
    means: Floats
    """(F,) mean activation over all n images, those on which it is not active included."""
    labels: Ints
    """(n,) number of each image's class; -1 where it has none."""
    sums: Bytes
    """(n, 32) sha256 of each image."""
    key_starts: Longs
    """(n + 1,) where the key of each image begins."""
    key_text: Bytes
    """UTF-8 of all keys."""


_CODES = ("<i8", "<i4", "<f4", "<i8", "<u4", "<f4", "<f4", "<i4", "u1", "<i8", "u1")
DTYPES = {name: np.dtype(code) for name, code in zip(Columns._fields, _CODES, strict=True)}
"""How each column lies on the disk."""


class IndexCard(Frozen):
    """What index.json says; the columns lie in the folder of its generation."""

    schema_version: int = 1
    identity: str
    """Of the dictionary and its backbone; see sae.code_index_build.identity_of."""
    source: str
    """What the image source calls itself."""
    fingerprint: str
    """The image source's."""
    classes: tuple[str, ...]
    n_images: int
    n_features: int
    entries: int
    generation: str


def write_card(card: IndexCard, folder: Path) -> None:
    """Write index.json in one step: from then on the index is its generation."""
    with whole_file(folder / CARD_FILE) as partial:
        partial.write_text(card.model_dump_json(indent=1), encoding="utf-8")


def read_card(folder: Path) -> IndexCard:
    """The card of an index folder; BadIndex where there is none or it is not one."""
    path = folder / CARD_FILE
    try:
        return IndexCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadIndex(f"{folder} holds no readable {CARD_FILE}; build the code index.") from error
    except (ValueError, ValidationError) as error:
        raise BadIndex(f"{path} is not the card of a code index; delete {folder} and build it.") from error


def create_column(folder: Path, name: str, *, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A new column on the disk to be filled in place."""
    path = column_file(folder, name)
    if 0 in shape:
        # An empty file cannot be mapped.
        empty = np.empty(shape, DTYPES[name])
        np.save(path, empty)
        return empty
    return np.lib.format.open_memmap(path, mode="w+", dtype=DTYPES[name], shape=shape)


def write_column(folder: Path, name: str, *, values: npt.NDArray[Any]) -> None:
    """A column that is there as a whole."""
    np.save(column_file(folder, name), np.ascontiguousarray(values, DTYPES[name]))


def open_columns(folder: Path, card: IndexCard) -> Columns:
    """The columns of a card, memory-mapped; BadIndex where one is missing or has another shape."""
    inside = folder / card.generation
    columns = Columns(**{name: _mapped(column_file(inside, name), DTYPES[name]) for name in Columns._fields})
    for name, expected in _lengths(card).items():
        if len(getattr(columns, name)) != expected:
            raise BadIndex(f"Column {name} in {inside} is not {expected} long; delete {folder} and build it.")
    ends = (columns.offsets[-1], columns.starts[-1], columns.key_starts[-1])
    if ends != (card.entries, card.entries, len(columns.key_text)):
        raise BadIndex(f"The columns in {inside} do not fit each other; delete {folder} and build it.")
    return columns


def _lengths(card: IndexCard) -> dict[str, int]:
    n, features, entries = card.n_images, card.n_features, card.entries
    images = {"offsets": n + 1, "labels": n, "sums": n, "key_starts": n + 1}
    return images | {
        "features": entries,
        "values": entries,
        "starts": features + 1,
        "rows": entries,
        "ranked": entries,
        "means": features,
    }


def _mapped(path: Path, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    try:
        found = map_column(path)
    except (OSError, ValueError) as error:
        raise BadIndex(f"{path} is not a column of a code index; delete the index and build it.") from error
    if found.dtype != dtype:
        raise BadIndex(f"{path} holds {found.dtype}, not {dtype}; delete the index and build it.")
    return found
