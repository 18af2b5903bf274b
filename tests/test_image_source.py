"""Where images come from: folders, lists, sets known by name."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from sae.errors import BadImages
from sae.image_sets import TORCHVISION, hub_images, open_hub, open_torchvision
from sae.image_source import FolderImages, PictureList, choose_images, pixel_sum
from tests.image_folders import write_food, write_images


def picture(level: int) -> Image.Image:
    return Image.new("RGB", (8, 6), (level, level, level))


def test_a_folder_is_its_pictures_in_order_of_path(tmp_path: Path) -> None:
    images = FolderImages(write_images(tmp_path, count=5))
    (tmp_path / "notes.txt").write_text("no picture")
    assert [images.key(row) for row in range(len(images))] == [
        "class-0/000.png",
        "class-0/002.png",
        "class-0/004.png",
        "class-1/001.png",
        "class-1/003.png",
    ]
    assert images.classes == ("class-0", "class-1")
    read = images.read(3)
    assert read.label == "class-1" and read.image.size == (40, 32)
    assert read.sha256 == hashlib.sha256((tmp_path / "class-1/001.png").read_bytes()).hexdigest()


def test_pictures_beside_each_other_have_no_class(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    images = FolderImages(tmp_path)
    assert images.classes == () and images.read(0).label is None


def test_a_picture_is_turned_upright_and_made_rgb(tmp_path: Path) -> None:
    turned = Image.new("L", (10, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a.jpg", exif=exif)
    read = FolderImages(tmp_path).read(0).image
    assert read.size == (4, 10) and read.mode == "RGB"


def test_the_fingerprint_follows_the_list(tmp_path: Path) -> None:
    first = FolderImages(write_images(tmp_path, count=3)).fingerprint
    assert FolderImages(tmp_path).fingerprint == first
    picture(9).save(tmp_path / "new.png")
    assert FolderImages(tmp_path).fingerprint != first


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    images = FolderImages(write_images(tmp_path, count=1, broken=(0,)))
    with pytest.raises(BadImages, match=r"000\.png cannot be read; replace it"):
        images.read(0)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadImages, match="holds no picture"):
        FolderImages(tmp_path)
    with pytest.raises(BadImages, match="does not exist"):
        FolderImages(tmp_path / "none")


def test_some_images_are_chosen_by_seed(tmp_path: Path) -> None:
    images = FolderImages(write_images(tmp_path, count=20))
    some, again, other = (choose_images(images, 5, seed=seed) for seed in (1, 1, 2))
    keys = [some.key(row) for row in range(5)]
    assert keys == sorted(keys) and len(set(keys)) == 5 and len(some) == 5
    assert keys == [again.key(row) for row in range(5)] != [other.key(row) for row in range(5)]
    assert some.fingerprint == again.fingerprint != other.fingerprint
    assert some.read(2).sha256 == hashlib.sha256((tmp_path / keys[2]).read_bytes()).hexdigest()
    assert choose_images(images, 20) is images


def test_a_list_of_pictures_is_a_source() -> None:
    images = PictureList("levels", picture, 3, ["dark", "dark", "light"], ("dark", "light"))
    assert len(images) == 3 and images.key(2) == "2"
    assert images.read(2).label == "light" and images.read(2).sha256 == pixel_sum(picture(2))


def test_a_set_of_torchvisions_is_found_by_name(tmp_path: Path) -> None:
    write_food(tmp_path)
    images = open_torchvision("Food-101", root=tmp_path)
    assert images.name == "torchvision:food101:train" and images.classes == ("apple_pie", "sushi")
    assert [images.read(row).label for row in range(len(images))] == ["apple_pie", "apple_pie", "sushi"]
    assert images.fingerprint != open_torchvision("food101", root=tmp_path, split="test").fingerprint


def test_a_picture_of_a_set_that_is_broken_is_named(tmp_path: Path) -> None:
    write_food(tmp_path)
    (tmp_path / "food-101" / "images" / "sushi" / "3.jpg").write_bytes(b"no picture")
    with pytest.raises(BadImages, match="Image 2 of torchvision:food101:train cannot be read"):
        open_torchvision("food101", root=tmp_path).read(2)


def test_a_set_that_is_not_there_is_not_fetched_unasked(tmp_path: Path) -> None:
    with pytest.raises(
        BadImages, match=r"Image set cifar10, split 'test', cannot be read below .*--download"
    ):
        open_torchvision("CIFAR10", root=tmp_path, split="test")
    with pytest.raises(BadImages, match="splits train and test, not 'validation'"):
        open_torchvision("cifar-10", root=tmp_path, split="validation")


def test_every_name_is_one_of_torchvisions() -> None:
    import torchvision.datasets

    assert [each.cls for each in TORCHVISION.values() if not hasattr(torchvision.datasets, each.cls)] == []
    with pytest.raises(BadImages, match="'cifar11' is not known; there are caltech101"):
        open_torchvision("cifar11", root=Path())


class Table:
    """The part of ``datasets.Dataset`` that is used."""

    column_names = ("img", "fine_label")
    features = MappingProxyType({"fine_label": SimpleNamespace(names=["cat", "dog"])})

    def __len__(self) -> int:
        return 2

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"img": picture(row), "fine_label": 1 - row}


def test_a_set_of_the_hub_is_its_columns() -> None:
    images = hub_images(Table(), "hf:tiny:train")
    assert images.classes == ("cat", "dog") and [images.read(row).label for row in (0, 1)] == ["dog", "cat"]


def test_without_the_package_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(BadImages, match="needs the package datasets, which is not installed; pip install"):
        open_hub("cifar10")
