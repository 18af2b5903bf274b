from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.control import LEAST_CONTROL, ControlSet
from tools.errors import UsageError
from tools.fakes import MemoryImageStore
from tools.image_folder import list_images, read_image, store_images

MANY = [f"{number:064x}" for number in range(1203)]


def write_pictures(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(folder / f"{number:04}.png")


def test_all_images_in_order_without_a_count() -> None:
    assert ControlSet(MANY).images == tuple(MANY)


def test_the_choice_is_fixed_by_the_seed() -> None:
    one, same, other = (ControlSet(MANY, count=1000, seed=seed) for seed in (3, 3, 4))
    assert one.images == same.images and one.fingerprint == same.fingerprint
    assert one.images != other.images and one.fingerprint != other.fingerprint
    assert len(set(one.images)) == 1000


@pytest.mark.parametrize(
    ("images", "count"), [(MANY[:999], None), (MANY, 999), (MANY[:999] * 2, None), ([], 5)]
)
def test_fewer_than_a_thousand_different_images_are_refused(images: list[str], count: int | None) -> None:
    with pytest.raises(UsageError, match=r"at least 1,000 different images, this one has \d+; add images\.$"):
        ControlSet(images, count=count)


def test_share_is_none_without_labels_and_exact_with_them() -> None:
    assert ControlSet(MANY).share("even") is None
    labelled = ControlSet(
        MANY[:1000], label=lambda image, name: int(image, 16) % 4 == 0, labelled_by="number"
    )
    assert labelled.share("divisible by four") == 0.25


def test_share_is_none_when_one_image_cannot_be_told() -> None:
    control = ControlSet(MANY, label=lambda image, name: None if image == MANY[5] else True)
    assert control.share("anything") is None


def test_labels_are_part_of_the_fingerprint() -> None:
    assert ControlSet(MANY).fingerprint != ControlSet(MANY, labelled_by="number").fingerprint


def test_a_folder_becomes_a_control_set(tmp_path: Path) -> None:
    write_pictures(tmp_path / "many", 1003)
    store = MemoryImageStore()
    control = ControlSet.from_folder(tmp_path / "many", store, seed=1)
    assert len(control.images) == LEAST_CONTROL
    assert all(store.has(image) for image in control.images)
    again = ControlSet.from_folder(tmp_path / "many", MemoryImageStore(), seed=1)
    assert again.fingerprint == control.fingerprint


def test_a_small_folder_is_refused_before_it_is_read(tmp_path: Path) -> None:
    write_pictures(tmp_path / "few", 3)
    store = MemoryImageStore()
    with pytest.raises(UsageError, match="this one has 3"):
        ControlSet.from_folder(tmp_path / "few", store)
    assert not len(store)


def test_a_duplicate_picture_is_replaced_by_another(tmp_path: Path) -> None:
    write_pictures(tmp_path / "many", 5)
    Image.new("RGB", (8, 8), (0, 0, 7)).save(tmp_path / "many" / "copy.png")
    assert len(store_images(tmp_path / "many", MemoryImageStore(), count=5)) == 5


@pytest.mark.parametrize("make", ["missing", "file", "empty"])
def test_a_folder_without_pictures_is_one_sentence(tmp_path: Path, make: str) -> None:
    folder = tmp_path / "pictures"
    if make == "file":
        folder.write_text("no folder")
    if make == "empty":
        folder.mkdir()
    with pytest.raises(UsageError, match=r"^Image folder .*pictures (does not exist|holds no picture); give"):
        list_images(folder)


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken"])
def test_an_unreadable_picture_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(data)
    with pytest.raises(UsageError, match=r"^Image .*bad\.png cannot be read; replace it"):
        store_images(tmp_path, MemoryImageStore())


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"cut\.png cannot be read"):
        read_image(tmp_path / "cut.png")


def test_large_pictures_shrink_and_other_modes_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (2048, 1024), 9).save(tmp_path / "wide.png")
    read = read_image(tmp_path / "wide.png")
    assert (read.mode, read.size) == ("RGB", (1024, 512))


def test_pictures_are_found_in_sub_folders_by_path(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a/1.png", "a/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert [path.name for path in list_images(tmp_path)] == ["1.png", "2.JPG"]
