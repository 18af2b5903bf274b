"""Arrays of numpy's own files, .npy and .npz, as tensors; their headers are parsed and never evaluated."""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path, PurePosixPath

from torch import Tensor

from sae.errors import BadDictionary
from sae.formats.budget import Budget
from sae.formats.rebuilt import NumpyDtype, dense_strides
from sae.formats.storages import Storage, pending
from sae.formats.torch_files import UNZIPPABLE, read_member

MAGIC = b"\x93NUMPY"
MANY_ARRAYS = 64
_HEADER = re.compile(
    r"\{\s*'descr'\s*:\s*'(?P<code>[<|=]?[a-z]\d{1,2})'\s*,"
    r"\s*'fortran_order'\s*:\s*(?P<order>True|False)\s*,"
    r"\s*'shape'\s*:\s*\((?P<shape>[\d, ]{0,80})\)\s*,?\s*\}\s*"
)
_LENGTH_BYTES = {1: 2, 2: 4}


def read_array(raw: bytearray) -> Tensor:
    """One .npy file; BadDictionary where it is none, or holds anything but numbers in little-endian order."""
    version = raw[6] if len(raw) > 10 and raw.startswith(MAGIC) else 0
    if version not in _LENGTH_BYTES:
        raise BadDictionary("it is no numpy file of numbers")
    start = 8 + _LENGTH_BYTES[version]
    end = start + int.from_bytes(raw[8:start], "little")
    header = _HEADER.fullmatch(raw[start:end].decode("latin1"))
    if header is None:
        raise BadDictionary("its numpy header is broken")
    shape = [int(size) for size in header["shape"].replace(" ", "").split(",") if size]
    dtype = NumpyDtype(header["code"]).dtype
    count = math.prod(shape)
    if count * dtype.itemsize != len(raw) - end:
        raise BadDictionary(f"it declares {count} numbers where {len(raw) - end} bytes are")
    strides = dense_strides(shape, columns_first=header["order"] == "True")
    storage = Storage(dtype, count, lambda: raw[end:])
    return pending(storage, 0, shape, strides).tensor(lambda held, kind: held.numbers(kind))


def read_arrays(archive: zipfile.ZipFile, budget: Budget) -> dict[str, Tensor]:
    """The arrays of an .npz file by name. BadDictionary."""
    try:
        names = archive.namelist()
        if len(names) > MANY_ARRAYS:
            raise BadDictionary(f"it holds {len(names)} arrays")
        return {name.removesuffix(".npy"): read_array(read_member(archive, name, budget)) for name in names}
    except UNZIPPABLE as error:
        if isinstance(error, BadDictionary):
            raise
        raise BadDictionary("it is cut off or broken") from error


def is_npz(archive: zipfile.ZipFile) -> bool:
    """Whether an archive holds arrays and nothing else."""
    names = archive.namelist()
    return bool(names) and all(PurePosixPath(name).suffix == ".npy" for name in names)


def read_folder(folder: Path) -> dict[str, Tensor]:
    """The .npy files of a folder by stem. BadDictionary."""
    paths = sorted(folder.glob("*.npy"))
    if len(paths) > MANY_ARRAYS:
        raise BadDictionary(f"it lies among {len(paths)} .npy files; give a folder of weights")
    return {path.stem: read_array(bytearray(path.read_bytes())) for path in paths}
