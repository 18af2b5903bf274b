"""Images are what their names say, complete or absent, and found by nobody's path."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tools.errors import DependencyError, IntegrityError
from tools.image_store import SYNCS, ImageStore

ROOT = Path(__file__).parent.parent
MISSING = "0" * 64


def picture(shade: int = 7, *, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (8, 5), shade)


MANY = SYNCS + 4
KILLED = """
import os, signal, sys
from pathlib import Path
from PIL import Image
from tools.image_store import ImageStore

def mortal(function):
    left = [int(sys.argv[3])]
    def call(*given):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given)
    return call

if sys.argv[2] == "sync":
    os.fsync = mortal(os.fsync)
else:
    Path.replace = mortal(Path.replace)
ImageStore(sys.argv[1]).put_many([Image.new("RGB", (8, 5), shade) for shade in range(int(sys.argv[4]))])
"""


@pytest.fixture(params=["folder", "file", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ImageStore]:
    """The same contract for a folder and for any fsspec URL."""
    urls: dict[str, Callable[[], str]] = {
        "folder": lambda: str(tmp_path / "images"),
        "file": lambda: f"file://{tmp_path}/images",
        "remote": lambda: f"memory://{tmp_path.name}",
    }
    yield ImageStore(urls[request.param]())


def test_a_picture_comes_back_by_the_hash_of_its_bytes(store: ImageStore) -> None:
    image = store.put(picture())
    assert hashlib.sha256(store.png(image)).hexdigest() == image
    assert store.get(image).tobytes() == picture().tobytes()
    assert store.has(image)


def test_png_bytes_are_kept_as_they_are(store: ImageStore) -> None:
    buffer = io.BytesIO()
    picture().save(buffer, format="PNG", compress_level=9)
    image = store.put_png(buffer.getvalue())
    assert store.png(image) == buffer.getvalue()
    assert store.put_png(buffer.getvalue()) == image


def test_a_missing_picture_is_named(store: ImageStore) -> None:
    assert not store.has(MISSING)
    with pytest.raises(KeyError, match=MISSING):
        store.get(MISSING)


def test_the_address_names_the_picture(store: ImageStore) -> None:
    image = store.put(picture())
    assert store.path_or_url(image).endswith(f"{image[:2]}/{image[2:4]}/{image}.png")


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", "0" * 62 + "/."]
)
def test_only_a_hash_becomes_a_path(store: ImageStore, name: str) -> None:
    with pytest.raises(ValueError, match="sha256"):
        store.has(name)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<svg/>"])
def test_only_a_png_is_stored(store: ImageStore, data: bytes) -> None:
    with pytest.raises(ValueError, match="not a PNG"):
        store.put_png(data)


def test_equal_pixels_get_an_equal_name_whatever_the_mode_and_metadata(image_store: ImageStore) -> None:
    gray = picture(mode="L")
    tagged = gray.convert("RGB")
    tagged.info["icc_profile"] = b"profile"
    assert image_store.put(gray) == image_store.put(tagged)
    assert tagged.info == {"icc_profile": b"profile"}


def test_changed_bytes_are_an_integrity_error(image_store: ImageStore) -> None:
    image = image_store.put(picture())
    path = Path(image_store.path_or_url(image))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match=re.escape(str(path))):
        image_store.get(image)


def test_a_huge_picture_is_not_decoded(image_store: ImageStore) -> None:
    buffer = io.BytesIO()
    Image.new("1", (8000, 8000)).save(buffer, format="PNG")
    with pytest.raises(IntegrityError, match="pixels"):
        image_store.get(image_store.put_png(buffer.getvalue()))


def test_a_write_that_fails_leaves_nothing_and_says_where(
    image_store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(DependencyError, match=r"No space left.* MB free"):
        patch.setattr(os, "fsync", full)
        image_store.put(picture())
    root = Path(image_store.path_or_url(MISSING)).parents[2]
    assert [path for path in root.rglob("*") if path.is_file()] == []
    assert image_store.has(image_store.put(picture()))


@pytest.mark.parametrize(
    ("call", "after", "whole"), [("sync", 3, 0), ("rename", 0, 0), ("rename", 7, 7), ("sync", MANY + 2, MANY)]
)
def test_a_kill_leaves_only_whole_pictures_under_their_names(
    tmp_path: Path, call: str, after: int, whole: int
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), call, str(after), str(MANY)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    named = [path for path in tmp_path.rglob("*.png") if not path.name.startswith(".")]
    assert len(named) == whole
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in named] == [path.stem for path in named]
    store = ImageStore(tmp_path)
    again = store.put_many([picture(shade) for shade in range(MANY)])
    assert [store.get(image).getpixel((0, 0)) for image in again] == [
        picture(shade).getpixel((0, 0)) for shade in range(MANY)
    ]


def test_a_batch_that_fails_leaves_nothing(image_store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()
    sync = os.fsync

    def full(descriptor: int) -> None:
        if next(calls) == 5:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    batch = [picture(shade) for shade in range(MANY)]
    with monkeypatch.context() as patch, pytest.raises(DependencyError, match="No space left"):
        patch.setattr(os, "fsync", full)
        image_store.put_many(batch)
    root = Path(image_store.path_or_url(MISSING)).parents[2]
    assert [path for path in root.rglob("*") if path.is_file()] == []
    assert all(image_store.has(image) for image in image_store.put_many(batch))


def test_the_bytes_are_synced_before_the_name_exists(
    image_store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        order.append("sync")
        sync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    image_store.put(picture())
    assert order[:3] == ["sync", "rename", "sync"]
    order.clear()
    image_store.put_many([picture(100 + shade) for shade in range(MANY)])
    assert order[: 2 * MANY] == ["sync"] * MANY + ["rename"] * MANY
    assert order[2 * MANY :] == ["sync"] * (len(order) - 2 * MANY) and len(order) >= 3 * MANY


def test_an_unknown_kind_of_address_is_one_sentence() -> None:
    with pytest.raises(DependencyError, match="nowhere://x"):
        ImageStore("nowhere://x")
