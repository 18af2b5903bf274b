"""Activations that other projects stored, read where they lie: MSAE, sative, saev, plain .npy arrays."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.errors import BadStore, WrongStore
from sae.store.manifest import Scope
from sae.store.rows import Ints, Span

NPY_MAGIC = b"\x93NUMPY"
RAW_NAME = re.compile(r".*_(\d{1,15})_(\d{1,9})\.npy", re.DOTALL)
"""How MSAE names a memory map: rows and width come last."""
FLOATS = {np.dtype("<f4"): torch.float32, np.dtype("<f2"): torch.float16, np.dtype("<f8"): torch.float64}

UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    TokenError,
    OverflowError,
    TypeError,
    RecursionError,
)
"""What numpy raises at a file that is no array of numbers: its header is a Python literal."""

Array = npt.NDArray[Any]


class Piece(NamedTuple):
    """A file, or a part of one, that holds some images."""

    images: int
    open: Callable[[], Array]
    """(images, tokens, d), mapped, of the tokens that were asked for."""


@dataclass(frozen=True)
class ForeignStore:
    """Somebody else's activations at one layer; implements RowSource."""

    path: Path
    hook_point: str
    """What they are called here, e.g. 'layer 11'."""
    scope: Scope
    width: int
    tokens: int
    """Rows of every image."""
    dtype: torch.dtype
    files: tuple[Piece, ...]
    image: Callable[[int], str] = str
    """What an image is called, by its number."""

    @property
    def images(self) -> int:
        return sum(piece.images for piece in self.files)

    @cached_property
    def pieces(self) -> Ints:
        return np.array([piece.images * self.tokens for piece in self.files], np.int64)

    def read(self, spans: Sequence[Span], out: Tensor) -> None:
        at = 0
        for span in spans:
            rows = self._rows(span)
            out[at : at + len(rows)] = torch.from_numpy(rows)
            at += len(rows)

    def _rows(self, span: Span) -> Array:
        first, last = span.start // self.tokens, -(-span.stop // self.tokens)
        # A layer of an image is consecutive; the images of a file need not be.
        held = np.array(self._opened(span.piece)[first:last]).reshape(-1, self.width)
        return held[span.start - first * self.tokens : span.stop - first * self.tokens]

    @cached_property
    def _opened(self) -> Callable[[int], Array]:
        # Folders of a file for every image would exhaust the maps a process may have.
        return cache(self._open) if len(self.files) <= 4096 else self._open

    def _open(self, piece: int) -> Array:
        try:
            return self.files[piece].open()
        except (OSError, ValueError) as error:
            raise BadStore(f"{self.path} can no longer be read as the activations it held.") from error


def is_raw(path: Path) -> bool:
    """Whether a file is a memory map as MSAE writes it: a name that says its shape, and no .npy header."""
    return RAW_NAME.fullmatch(path.name) is not None and path.is_file() and not _has_header(path)


def open_raw(path: Path) -> ForeignStore:
    """MSAE's memory map of float32 embeddings, {...}_{N}_{D}.npy. BadStore where the size is another."""
    shape = RAW_NAME.fullmatch(path.name)
    rows, width = (int(number) for number in shape.groups()) if shape else (0, 0)
    size = path.stat().st_size
    if not rows or not width or size != rows * width * 4:
        raise BadStore(
            f"{path} has {size} bytes, not the {rows * width * 4} of {rows} rows of {width} float32 numbers "
            "that its name tells; download it again."
        )

    def opened() -> Array:
        return np.memmap(path, "<f4", mode="r", shape=(rows, 1, width))

    return ForeignStore(path, "pooled", "pooled", width, 1, torch.float32, (Piece(rows, opened),))


def open_array(path: Path) -> ForeignStore:
    """A .npy array (N, d), or (N, tokens, d). BadStore where it is something else."""
    array = _mapped(path)
    if array.ndim not in (2, 3) or not array.size:
        raise BadStore(f"{path} holds an array of shape {array.shape}; give (N, d) or (N, tokens, d).")
    tokens = 1 if array.ndim == 2 else array.shape[1]
    shape = (len(array), tokens, array.shape[-1])
    scope: Scope = "pooled" if array.ndim == 2 else "all"
    return ForeignStore(
        path,
        "pooled" if array.ndim == 2 else "tokens",
        scope,
        shape[2],
        tokens,
        FLOATS[array.dtype],
        (Piece(shape[0], lambda: _mapped(path).reshape(shape)),),
    )


def open_folder(folder: Path, *, layer: int) -> ForeignStore:
    """sative's folder of one .npy an image, (layers, d): the class token of each layer.

    BadStore where there is none, where shapes differ, or where there is no such layer.
    """
    paths = sorted(folder.glob("*.npy"))
    if not paths:
        raise BadStore(f"{folder} holds no .npy file; give a folder of one an image.")
    first = _mapped(paths[0])
    if first.ndim != 2:
        raise BadStore(f"{paths[0]} holds an array of shape {first.shape}, not (layers, d).")
    refuse_layer(folder, layer, range(len(first)))
    for path in paths[1:]:
        if path.stat().st_size != paths[0].stat().st_size:
            raise BadStore(f"{path} is not of the size of {paths[0].name}; take it out or extract it again.")

    def opened(path: Path) -> Callable[[], Array]:
        def read() -> Array:
            array = _mapped(path)
            if array.shape != first.shape or array.dtype != first.dtype:
                raise BadStore(f"{path} holds an array of shape {array.shape}, not {first.shape}.")
            chosen: Array = array[layer][None, None]
            return chosen

        return read

    return ForeignStore(
        folder,
        f"layer {layer}",
        "cls",
        first.shape[1],
        1,
        FLOATS[first.dtype],
        tuple(Piece(1, opened(path)) for path in paths),
        image=lambda number: paths[number].name,
    )


def refuse_layer(where: Path, layer: int, layers: Sequence[int]) -> None:
    """WrongStore where a store has no such layer, with those it has."""
    if layer not in layers:
        raise WrongStore(f"{where} has no layer {layer}; it holds {', '.join(map(str, layers))}.")


def _has_header(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(NPY_MAGIC)) == NPY_MAGIC
    except OSError as error:
        raise BadStore(f"{path} cannot be read ({error.strerror}).") from error


def _mapped(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise BadStore(f"{path} is no readable .npy array; download or extract it again.") from error
    if not isinstance(array, np.memmap) or array.dtype not in FLOATS:
        raise BadStore(f"{path} holds {getattr(array, 'dtype', 'no')} numbers; give float16, 32 or 64.")
    return array
