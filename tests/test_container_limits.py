"""Small files that would grow large are refused soon, and no size in a file is believed."""

from __future__ import annotations

import gzip
import pickle
import struct
import time
import zipfile
from pathlib import Path

import pytest
import torch

from sae.errors import BadDictionary
from sae.formats.budget import MANY
from sae.formats.container import open_container
from tests.poisoned_pickles import alone, archive

LONGEST = 1.0
"""Seconds of CPU that a small file may take."""


def test_a_zip_bomb_is_refused_soon(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.npy", bytes(40 * 2**20))
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(40 * 2**20)))
    began = time.process_time()
    with pytest.raises(BadDictionary, match="unpacks to far more"):
        open_container(path)
    with pytest.raises(BadDictionary, match="unpacks to far more"):
        open_container(tmp_path / "bomb.gz")
    assert time.process_time() - began < LONGEST


BOMBS = {
    "doubling": b"]" + b"".join(b"q%c0]h%cah%ca" % (i, i, i) for i in range(60)),
    "deep": b"]" * 50_000 + b"a" * 49_999,
    "deep tuples": b")" + b"\x85" * 50_000,
    "many": b"]" + b"N0" * (MANY + 1),
    "wide calls": b"(" + b"N" * 40_000 + b"tq\x00" + b"cm\nC\nq\x01" + b"h\x01h\x00R0" * 10_000,
    "wide states": b"}(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(20_000)) + b"uq\x00"
    + b"cm\nC\n)Rq\x01" + b"h\x01h\x00b0" * 10_000,
    "long number": b"\x8b" + struct.pack("<i", 20_000) + b"\x7f" * 20_000,
    "long text number": b"L" + b"9" * 50_000 + b"L\n",
    "itself": b"]q\x00h\x00a",
    "keys": b"}" + b"".join(
        b"\x8a\x10" + (i * (2**61 - 1)).to_bytes(16, "little", signed=True) + b"Ns" for i in range(9_000)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_pickles_that_grow_are_refused_or_small_and_soon(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(gzip.compress(alone(BOMBS[name])))
    began = time.process_time()
    if name in ("itself", "keys"):
        assert open_container(tmp_path / "a.pt").kind == "torch-gzip"
    else:
        with pytest.raises(BadDictionary):
            open_container(tmp_path / "a.pt")
    assert time.process_time() - began < LONGEST


def rebuilt(*, shape: tuple[int, ...], stride: tuple[int, ...], count: int = 6, offset: int = 0) -> bytes:
    """A torch file of one tensor described so, over six numbers."""
    storage = pickle.dumps(("storage", "KIND", "0", "cpu", count), protocol=2)[2:-1]
    kind = pickle.dumps("KIND", protocol=2)[2:-1].removesuffix(b"q\x00")
    storage = storage.replace(kind, b"ctorch\nFloatStorage\n")
    numbers = b"".join(pickle.dumps(each, protocol=2)[2:-1] for each in (offset, shape, stride))
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"Q" + numbers + b"\x89NtR."
    return archive(pickled, {"0": torch.arange(6.0).numpy().tobytes()})


def test_tensors_may_not_reach_out_of_their_storage(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(rebuilt(shape=(2, 3), stride=(3, 1)))
    assert open_container(path).tree.tolist() == [[0, 1, 2], [3, 4, 5]]
    for wrong in (
        rebuilt(shape=(2, 3), stride=(3, 1), offset=1),
        rebuilt(shape=(2, 4), stride=(3, 1)),
        rebuilt(shape=(2, 3), stride=(3, -1)),
        rebuilt(shape=(2, 3), stride=(3,)),
        rebuilt(shape=(2, 3), stride=(3, 1), count=5),
        rebuilt(shape=(2, 3), stride=(3, 1), count=2**39),
        rebuilt(shape=(2, 3), stride=(3, 1), count=-6),
        rebuilt(shape=(2**20, 2**20), stride=(0, 0)),
        rebuilt(shape=(1,) * 20, stride=(0,) * 20),
    ):
        path.write_bytes(wrong)
        with pytest.raises(BadDictionary):
            open_container(path)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').getcwd(),), }",
        "(" * 200,
    ],
)
def test_numpy_headers_are_not_evaluated(header: str, tmp_path: Path) -> None:
    raw = header.encode() + b"\n"
    (tmp_path / "W.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + bytes(4))
    with pytest.raises(BadDictionary, match=r"W\.npy"):
        open_container(tmp_path / "W.npy")
