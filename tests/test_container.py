"""Files of weights of every kind are read without running anything, and broken ones are refused."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from sae.errors import BadDictionary
from sae.formats.container import Bag, open_container
from tests.poisoned_pickles import (
    CALLED_WITH_A_COMMAND,
    alone,
    archive,
    beside_weights,
    poisoned_pickle,
    poisons,
    registered,
)

NAMES = sorted(poisons(Path("canary")))


class Config:
    """Somebody's class."""

    def __init__(self) -> None:
        self.d_in, self.dtype, self.device = 6, torch.float32, torch.device("cuda", 1)
        self.paths = argparse.Namespace(k=3, where=Path("/a/b"))


def everything() -> dict[str, Any]:
    """One of each thing that checkpoints hold."""
    chance = torch.Generator().manual_seed(0)
    matrix = torch.randn(5, 7, generator=chance)
    return {
        "state_dict": OrderedDict(matrix=matrix, turned=matrix.T, part=matrix[1:4:2, 2:]),
        "cfg": Config(),
        "parameter": torch.nn.Parameter(torch.ones(3)),
        "expanded": torch.ones(1).expand(9),
        "kinds": [torch.arange(4).to(kind) for kind in (torch.int64, torch.bool, torch.bfloat16, torch.half)],
        "empty": torch.empty(0, 3),
        "numbers": {"evr": np.float64(0.5), "array": np.arange(6, dtype=np.float32).reshape(2, 3)},
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "sizes": torch.Size([2, 3]),
        "counts": defaultdict(int, {"a": 1}),
        "some": {3},
        "by_number": {0: "first", None: "nothing"},
    }


def as_archive(content: Any, path: Path) -> None:
    torch.save(content, path)


def as_old(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def as_gzip(content: Any, path: Path) -> None:
    with gzip.open(path, "wb") as stream:
        pickle.dump(content, stream)


def as_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "torch-zip": as_archive,
    "torch-legacy": as_old,
    "torch-gzip": as_gzip,
    "pickle": as_pickle,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_torch_files_are_read_as_torch_reads_them(kind: str, tmp_path: Path) -> None:
    content = everything()
    WRITERS[kind](content, tmp_path / "a.pt")
    contents = open_container(tmp_path / "a.pt")
    tree = contents.tree
    assert contents.kind == ("torch-legacy" if kind == "pickle" else kind)
    for name, tensor in content["state_dict"].items():
        assert torch.equal(tree["state_dict"][name], tensor), name
    assert torch.equal(tree["parameter"], torch.ones(3))
    assert torch.equal(tree["expanded"], torch.ones(9))
    assert all(torch.equal(a, b) for a, b in zip(tree["kinds"], content["kinds"], strict=True))
    assert [each.dtype for each in tree["kinds"]] == [each.dtype for each in content["kinds"]]
    assert tree["empty"].shape == (0, 3)
    assert tree["numbers"]["evr"] == 0.5
    assert tree["numbers"]["array"].tolist() == tree["columns"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tree["sizes"] == [2, 3] and tree["counts"] == {"a": 1} and tree["some"] == [3]
    assert tree["by_number"] == {"0": "first", "None": "nothing"}


def test_objects_of_strangers_become_bags(tmp_path: Path) -> None:
    as_archive({"cfg": Config(), "class": Config}, tmp_path / "a.pt")
    tree = open_container(tmp_path / "a.pt").tree
    cfg = tree["cfg"]
    assert isinstance(cfg, Bag) and cfg.name.endswith("test_container.Config")
    assert (cfg.attributes["d_in"], cfg.attributes["dtype"], cfg.attributes["device"]) == (
        6,
        "float32",
        "cuda:1",
    )
    assert cfg.attributes["paths"].attributes["k"] == 3
    assert cfg.attributes["paths"].attributes["where"].name.startswith("pathlib")
    assert isinstance(tree["class"], Bag) and tree["class"].attributes == {}


def test_a_whole_module_and_what_refers_to_itself_are_read(tmp_path: Path) -> None:
    linear, config = torch.nn.Linear(3, 2), Config()
    config.paths.owner = config
    as_archive({"module": linear, "config": config}, tmp_path / "a.pt")
    tree = open_container(tmp_path / "a.pt").tree
    assert torch.equal(tree["module"].attributes["_parameters"]["weight"], linear.weight)
    assert tree["config"].attributes["paths"].attributes["owner"].name == "itself"


def test_a_tensor_that_is_shared_is_read_once(tmp_path: Path) -> None:
    weight = torch.ones(3, 4)
    as_archive({"encoder": weight, "decoder": weight.T}, tmp_path / "a.pt")
    tree = open_container(tmp_path / "a.pt").tree
    assert tree["encoder"].data_ptr() == tree["decoder"].data_ptr()


def test_saev_safetensors_and_numpy_files_are_read(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    buffer = io.BytesIO()
    torch.save({"W": weight}, buffer)
    (tmp_path / "sae.pt").write_bytes(json.dumps({"schema": 5}).encode() + b"\n" + buffer.getvalue())
    save_file({"W": weight}, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", W=weight.numpy(), wide=np.asfortranarray(weight.numpy()))
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "W.npy", weight.numpy())
    saev = open_container(tmp_path / "sae.pt")
    assert saev.kind == "saev" and saev.tree["header"] == {"schema": 5}
    assert torch.equal(saev.tree["state_dict"]["W"], weight)
    for path, kind in (("a.safetensors", "safetensors"), ("a.npz", "npz"), ("arrays", "npy-folder")):
        contents = open_container(tmp_path / path)
        assert contents.kind == kind
        assert all(torch.equal(tensor, weight) for tensor in contents.tree.values())
    assert open_container(tmp_path / "arrays" / "W.npy").kind == "npy-folder"


def test_small_json_files_come_along(tmp_path: Path) -> None:
    folder = tmp_path / "trainer_0" / "checkpoints"
    folder.mkdir(parents=True)
    as_archive({}, folder / "ae_100.pt")
    (folder.parent / "config.json").write_text('{"trainer": {"k": 3}}')
    (folder / "broken.json").write_text("{")
    (folder / "large.json").write_text(json.dumps(["x" * 1000] * 2000))
    assert open_container(folder / "ae_100.pt").files == {"config.json": {"trainer": {"k": 3}}}
    (folder / "cfg.json").write_text("[" * 5000)
    with pytest.raises(BadDictionary, match=r"cfg\.json"):
        open_container(folder / "ae_100.pt")


def test_the_weights_of_a_folder_are_told_from_what_lies_beside(tmp_path: Path) -> None:
    as_archive({"a": 1}, tmp_path / "n_images_100.pt")
    for beside in ("n_images_100_log_feature_sparsity.pt", "optimizer_0.pt", "state.pt", "mean.pt"):
        as_archive({"b": 1}, tmp_path / beside)
    assert open_container(tmp_path).tree == {"a": 1}
    as_archive({"a": 1}, tmp_path / "n_images_200.pt")
    with pytest.raises(BadDictionary, match=r"n_images_100\.pt, n_images_200\.pt"):
        open_container(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(BadDictionary, match="holds no file of weights"):
        open_container(tmp_path / "none")


@pytest.mark.parametrize("name", NAMES)
def test_poison_is_inert(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    poison = poisons(canary)[name]
    weights = pickle.dumps({"k": 3}, protocol=2)
    files = {
        "a.pt": archive(poisoned_pickle(poison)),
        "b.pt": archive(beside_weights(weights, poison)),
        "c.pt": alone(poison),
        "d.pkl.gz": gzip.compress(poisoned_pickle(poison, protocol=2)),
        "e.pt": b'{"schema": 5}\n' + archive(alone(poison)),
    }
    with registered():
        for file, raw in files.items():
            (tmp_path / file).write_bytes(raw)
            try:
                open_container(tmp_path / file)
            except BadDictionary as error:
                assert "\n" not in str(error)
            assert not canary.exists(), file


@pytest.mark.parametrize("name", ["system", "eval", "stack-global", "inst", "obj", "extension", "getattr"])
def test_the_poison_is_real(name: str, tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    canary = tmp_path / "canary"
    with registered():
        pickle.loads(alone(poisons(canary)[name]))
    assert canary.exists()
    assert name in CALLED_WITH_A_COMMAND or name in NAMES


def test_a_missing_file_and_a_strange_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDictionary, match="cannot be read"):
        open_container(tmp_path / "none.pt")
    (tmp_path / "a.pt").write_bytes(b"")
    with pytest.raises(BadDictionary, match="known kind"):
        open_container(tmp_path / "a.pt")
    (tmp_path / "a.pt").write_text('{"k": 3}\n')
    with pytest.raises(BadDictionary, match="JSON that no weights follow"):
        open_container(tmp_path / "a.pt")


@given(
    st.binary(max_size=300),
    st.sampled_from([b"\x80\x02", b"PK\x03\x04", b"\x1f\x8b\x08", b"{", b"\x93NUMPY"]),
)
def test_any_bytes_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, head: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pt"
    path.write_bytes(head + raw)
    try:
        open_container(path)
    except BadDictionary as error:
        assert str(path) in str(error)
