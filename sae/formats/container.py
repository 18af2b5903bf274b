"""Files of weights read safely, whatever they are: recognised by their first bytes, and never run.

Of pickles a machine of our own reads the opcodes (sae/formats/stub_unpickler.py): no name in a file is looked
up, so there is nothing that a file could run. Work and memory are bounded by the size of the file.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import safetensors.torch
from safetensors import SafetensorError

from sae.errors import BadDictionary
from sae.formats.bag import Bag
from sae.formats.budget import Budget
from sae.formats.json_files import LARGEST, read_companions, read_json
from sae.formats.numpy_files import MAGIC, is_npz, read_arrays, read_folder
from sae.formats.torch_files import open_archive, read_pickle, read_torch_archive

__all__ = ["Bag", "Contents", "Kind", "open_container"]

Kind = Literal["torch-zip", "torch-legacy", "torch-gzip", "saev", "safetensors", "npz", "npy-folder"]

SUFFIXES = (".safetensors", ".pt", ".pth", ".pkl", ".gz", ".npz", ".ckpt", ".chk", ".bin")
"""Of files that a folder's weights may be in."""
COMPANIONS = (
    "optimizer",
    "lr_scheduler",
    "rank_",
    "trainer_state",
    "activation_whitening",
    "activations_store",
)
"""How files beside the weights begin."""
COMPANION_NAMES = frozenset({"sparsity.safetensors", "state.pt", "mean.pt", "std.pt", "training_args.bin"})
_PART = 2**20
_ZIP = b"PK\x03\x04"


class Contents(NamedTuple):
    """What a file of weights holds."""

    kind: Kind
    tree: Any
    """Str-keyed dicts, lists (tuples and sets among them), tensors on the CPU, plain values, and Bags for
    objects of any other class. dtypes and devices are text ('float32', 'cuda:0'). Of a saev file
    {'header': its JSON line, 'state_dict': ...}; of numpy and safetensors files {name: tensor}."""
    files: Mapping[str, Any]
    """JSON files of the same folder by name, parsed; of the folder above where this one is 'checkpoints'."""
    path: Path
    """The file that was read: the one of a folder, or the folder itself of .npy files."""


def open_container(path: Path) -> Contents:
    """Read a file of weights, or the only one of a folder. BadDictionary in one sentence."""
    try:
        found = _weights_of(path) if path.is_dir() else path
        kind, tree = _read(found)
        return Contents(kind, tree, _companions(found), found)
    except OSError as error:
        raise BadDictionary(
            f"{path} cannot be read ({type(error).__name__}); check the path or download it again."
        ) from error


def _companions(path: Path) -> dict[str, Any]:
    folder = path if path.is_dir() else path.parent
    above = read_companions(folder.parent) if folder.name == "checkpoints" else {}
    return above | read_companions(folder)


def _weights_of(folder: Path) -> Path:
    """The file of weights in a folder, or the folder itself where it holds .npy files."""
    found = sorted(
        path for path in folder.iterdir() if path.suffix in SUFFIXES and not _is_companion(path.name)
    )
    if len(found) == 1:
        return found[0]
    if not found and any(folder.glob("*.npy")):
        return folder
    if not found:
        raise BadDictionary(
            f"{folder} holds no file of weights; give a file ending in {', '.join(SUFFIXES)}."
        )
    listed = ", ".join(path.name for path in found[:8]) + (", ..." if len(found) > 8 else "")
    raise BadDictionary(f"{folder} holds {len(found)} files of weights ({listed}); give one of them.")


def _is_companion(name: str) -> bool:
    return name in COMPANION_NAMES or name.startswith(COMPANIONS) or name.endswith("_log_feature_sparsity.pt")


def _read(path: Path) -> tuple[Kind, Any]:
    try:
        if path.is_dir():
            return "npy-folder", read_folder(path)
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(9)
            stream.seek(0)
            return _reader(head, size)(stream, Budget.of(size), path)
    except (BadDictionary, MemoryError) as error:
        reason = str(error) or "it does not fit into memory"
        raise BadDictionary(f"{path} cannot be used: {reason}; download or save it again.") from error


_Reader = Callable[[IO[bytes], Budget, Path], tuple[Kind, Any]]


def _reader(head: bytes, size: int) -> _Reader:
    if len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return _read_safetensors
    for magic, reader in _READERS.items():
        if head.startswith(magic):
            return reader
    raise BadDictionary("it is no file of weights of a known kind")


def _read_safetensors(stream: IO[bytes], budget: Budget, path: Path) -> tuple[Kind, Any]:
    try:
        return "safetensors", safetensors.torch.load(stream.read())
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise BadDictionary("its safetensors header or length is broken") from error


def _read_zip(stream: IO[bytes], budget: Budget, path: Path) -> tuple[Kind, Any]:
    with open_archive(stream) as archive:
        if is_npz(archive):
            return "npz", read_arrays(archive, budget)
        return "torch-zip", read_torch_archive(archive, budget)


def _read_saev(stream: IO[bytes], budget: Budget, path: Path) -> tuple[Kind, Any]:
    line = stream.readline(LARGEST)
    if not line.endswith(b"\n") or stream.read(len(_ZIP)) != _ZIP:
        raise BadDictionary("it begins with JSON that no weights follow")
    header = read_json(line)
    with open_archive(stream) as archive:
        return "saev", {"header": header, "state_dict": read_torch_archive(archive, budget)}


def _read_gzip(stream: IO[bytes], budget: Budget, path: Path) -> tuple[Kind, Any]:
    try:
        raw = bytearray()
        with gzip.open(stream) as unpacked:
            while part := unpacked.read(_PART):
                budget.spend_size(len(part))
                raw += part
    except (EOFError, zlib.error, OSError) as error:
        raise BadDictionary("it is cut off or broken") from error
    return "torch-gzip", read_pickle(bytes(raw), budget)


def _read_legacy(stream: IO[bytes], budget: Budget, path: Path) -> tuple[Kind, Any]:
    return "torch-legacy", read_pickle(stream.read(), budget)


def _read_arrays_beside(stream: IO[bytes], budget: Budget, path: Path) -> tuple[Kind, Any]:
    return "npy-folder", read_folder(path.parent)


_READERS: dict[bytes, _Reader] = {
    b"\x1f\x8b": _read_gzip,
    _ZIP: _read_zip,
    b"{": _read_saev,
    MAGIC: _read_arrays_beside,
    b"\x80": _read_legacy,
}
"""By the first bytes of a file."""
