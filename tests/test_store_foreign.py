"""Stores that other projects wrote, as synthetic files of their exact form: read in place, and converted."""

from __future__ import annotations

import json
import pickle
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.errors import BadStore
from sae.store.foreign import ForeignStore
from sae.store.manifest import Scope
from sae.store.opening import convert, open_activations
from sae.store.reader import check_sums, open_store
from sae.store.rows import read_range
from sae.store.saev import open_labels
from sae.store.shuffle import RowStream

CHANCE = np.random.default_rng(0)
IMAGES, LAYERS, TOKENS, D = 7, 2, 5, 6


def write_msae(folder: Path) -> tuple[Path, np.ndarray[Any, Any]]:
    """MSAE's memory map of embeddings: float32, no header, the shape in the name."""
    held = CHANCE.normal(size=(11, D)).astype("<f4")
    path = folder / f"cc3m_ViT-L~14_train_image_{len(held)}_{D}.npy"
    held.tofile(path)
    return path, held


def write_sative(folder: Path) -> np.ndarray[Any, Any]:
    """sative's folder: 13 layers of one image a file."""
    held = CHANCE.normal(size=(IMAGES, 13, D)).astype(np.float32)
    for number, image in enumerate(held):
        np.save(folder / f"image-{number:03d}.npy", image)
    return held


def write_saev(folder: Path, *, cls_token: bool = True, protocol: str = "1.1") -> np.ndarray[Any, Any]:
    """saev's shards of three images each, the last file as long as the others, with zeros at its end."""
    held = CHANCE.normal(size=(IMAGES, LAYERS, TOKENS, D)).astype("<f4")
    old = protocol == "1.1"
    metadata: dict[str, Any] = {
        "layers": [6, 11],
        "cls_token": cls_token,
        "data": {"__class__": "Imagenet"},
        "dtype": "float32",
        "protocol": protocol,
        "vit_family" if old else "family": "clip",
        "vit_ckpt" if old else "ckpt": "ViT-B-16/openai",
        "n_patches_per_img" if old else "content_tokens_per_example": TOKENS - cls_token,
        "d_vit" if old else "d_model": D,
        "n_imgs" if old else "n_examples": IMAGES,
        "max_patches_per_shard" if old else "max_tokens_per_shard": 3 * LAYERS * TOKENS,
    }
    (folder / "metadata.json").write_text(json.dumps(metadata))
    shards = []
    for number, start in enumerate(range(0, IMAGES, 3)):
        part = held[start : start + 3]
        whole = np.zeros((3, LAYERS, TOKENS, D), "<f4")
        whole[: len(part)] = part
        whole.tofile(folder / f"acts{number:06}.bin")
        shards.append({"name": f"acts{number:06}.bin", "n_imgs" if old else "n_examples": len(part)})
    (folder / "shards.json").write_text(json.dumps(shards))
    return held


def rows_of(store: object) -> np.ndarray[Any, Any]:
    assert isinstance(store, ForeignStore)
    return read_range(store, 0, int(store.pieces.sum())).numpy()


def test_msae_memory_maps_are_read(tmp_path: Path) -> None:
    path, held = write_msae(tmp_path)
    store = open_activations(path)
    assert np.array_equal(rows_of(store), held)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(BadStore, match=r"has 260 bytes, not the 264 of 11 rows of 6 float32 numbers"):
        open_activations(path)


def test_a_real_npy_with_such_a_name_is_told_by_its_header(tmp_path: Path) -> None:
    held = CHANCE.normal(size=(4, 3))
    path = tmp_path / "Concept_Interpreter_text_20000_768.npy"
    np.save(path, held)
    assert np.array_equal(rows_of(open_activations(path)), held)


def test_arrays_of_tokens_are_rows(tmp_path: Path) -> None:
    held = CHANCE.normal(size=(4, 3, 2)).astype(np.float16)
    np.save(tmp_path / "tokens.npy", held)
    store = open_activations(tmp_path / "tokens.npy")
    assert isinstance(store, ForeignStore)
    assert (store.images, store.tokens, store.scope) == (4, 3, "all")
    assert np.array_equal(rows_of(store), held.reshape(-1, 2))


def test_sative_folders_are_read(tmp_path: Path) -> None:
    held = write_sative(tmp_path)
    store = open_activations(tmp_path, layer=12)
    assert np.array_equal(rows_of(store), held[:, 12])
    assert isinstance(store, ForeignStore) and store.image(3) == "image-003.npy"
    with pytest.raises(BadStore, match="say which layer"):
        open_activations(tmp_path)
    with pytest.raises(BadStore, match=r"has no layer 13; it holds 0, 1, .*, 12"):
        open_activations(tmp_path, layer=13)
    np.save(tmp_path / "image-004.npy", held[0, :3])
    with pytest.raises(BadStore, match=r"image-004\.npy is not of the size"):
        open_activations(tmp_path, layer=12)


@pytest.mark.parametrize("protocol", ["1.1", "2.1"])
@pytest.mark.parametrize(
    ("scope", "taken"), [("cls", slice(0, 1)), ("patch", slice(1, None)), ("all", slice(None))]
)
def test_saev_shards_are_read(tmp_path: Path, protocol: str, scope: Scope, taken: slice) -> None:
    held = write_saev(tmp_path, protocol=protocol)
    store = open_activations(tmp_path, layer=11, scope=scope)
    assert np.array_equal(rows_of(store), held[:, 1, taken].reshape(-1, D))


def test_saev_shards_without_a_class_token_hold_patches_alone(tmp_path: Path) -> None:
    held = write_saev(tmp_path, cls_token=False)
    assert np.array_equal(rows_of(open_activations(tmp_path, layer=6)), held[:, 0].reshape(-1, D))
    with pytest.raises(BadStore, match="holds no 'cls' token"):
        open_activations(tmp_path, layer=6, scope="cls")


def test_saev_shards_of_the_first_version_list_no_files(tmp_path: Path) -> None:
    held = write_saev(tmp_path)
    (tmp_path / "shards.json").unlink()
    assert np.array_equal(
        rows_of(open_activations(tmp_path, layer=6, scope="all")), held[:, 0].reshape(-1, D)
    )


def test_saev_labels_are_read(tmp_path: Path) -> None:
    write_saev(tmp_path)
    assert open_labels(tmp_path) is None
    labels = CHANCE.integers(0, 200, (IMAGES, TOKENS - 1), dtype=np.uint8)
    labels.tofile(tmp_path / "labels.bin")
    found = open_labels(tmp_path)
    assert found is not None and np.array_equal(found, labels)


def test_saev_shards_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_saev(tmp_path)
    with pytest.raises(BadStore, match="holds the layers 6, 11; say which"):
        open_activations(tmp_path)
    with pytest.raises(BadStore, match="has no layer 7; it holds 6, 11"):
        open_activations(tmp_path, layer=7)
    last = tmp_path / "acts000001.bin"
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(BadStore, match=r"acts000001\.bin has 719 bytes, fewer than the 720"):
        open_activations(tmp_path, layer=6)
    last.unlink()
    with pytest.raises(BadStore, match=r"acts000001\.bin has 0 bytes"):
        open_activations(tmp_path, layer=6)
    (tmp_path / "shards.json").write_text(json.dumps([{"name": "../acts000000.bin", "n_imgs": 7}]))
    with pytest.raises(BadStore, match=r"is not what saev writes: 0\.name"):
        open_activations(tmp_path, layer=6)


@pytest.mark.parametrize(("write", "layer"), [(write_sative, 3), (write_saev, 6)])
def test_a_view_is_shuffled_like_a_store(tmp_path: Path, write: Any, layer: int) -> None:
    write(tmp_path)
    store = open_activations(tmp_path, layer=layer)
    stream = RowStream(store, block_rows=2, window_rows=6)
    read = torch.cat(list(islice(stream.batches(stream.rows, seed=0), 2)))
    held = rows_of(store)
    for epoch in torch.split(read, stream.rows):
        assert sorted(map(tuple, epoch.tolist())) == sorted(map(tuple, held.tolist()))


@pytest.mark.parametrize(("write", "layer"), [(write_sative, 3), (write_saev, 6)])
def test_conversion_keeps_every_row(tmp_path: Path, write: Any, layer: int) -> None:
    (tmp_path / "foreign").mkdir()
    write(tmp_path / "foreign")
    foreign = open_activations(tmp_path / "foreign", layer=layer)
    assert isinstance(foreign, ForeignStore)
    told: list[tuple[int, int]] = []
    convert(foreign, tmp_path / "ours", dtype="fp32", told=lambda done, of: told.append((done, of)))
    ours = open_store(tmp_path / "ours")
    assert told == [(IMAGES, IMAGES)] and check_sums(tmp_path / "ours") > 0
    assert np.array_equal(read_range(ours, 0, ours.rows).numpy(), rows_of(foreign))
    assert ours.place(ours.rows - 1).image.image == foreign.image(IMAGES - 1)
    assert ours.part.hook_point == f"layer {layer}" and ours.manifest.plan.backbone is None


class Canary:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("canary").write_text, ("dead",))


def test_pickled_arrays_are_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "objects.npy", np.array([Canary()], dtype=object), allow_pickle=True)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Canary()))
    for name in ("objects.npy", "plain.npy"):
        with pytest.raises(BadStore, match="is no readable"):
            open_activations(tmp_path / name)
    assert not (tmp_path / "canary").exists()


@settings(max_examples=200)
@given(st.data())
def test_a_mutated_array_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("mutated", numbered=True)
    path = folder / "a.npy"
    np.save(path, np.zeros((4, 3), np.float32))
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    path.write_bytes(
        bytes(raw[: data.draw(st.integers(0, len(raw)))]) if data.draw(st.booleans()) else bytes(raw)
    )
    try:
        store = open_activations(path)
        assert rows_of(store).size > 0
    except BadStore as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"layers": [1]}', "[" * 100_000, '{"layers": "x"}'])
def test_metadata_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    write_saev(tmp_path)
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(BadStore):
        open_activations(tmp_path, layer=6)


def test_what_does_not_exist_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BadStore, match="does not exist"):
        open_activations(tmp_path / "nothing")
