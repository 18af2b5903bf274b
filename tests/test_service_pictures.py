"""Images as browsers get them, and images as strangers send them."""

from __future__ import annotations

import hashlib
import io
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import redis as redis_module
from PIL import Image

from namesae.service.errors import NotFound
from namesae.service.picture_reading import read_picture
from namesae.service.pictures import MOST_BYTES, SIDES, ServedPictures
from namesae.wiring import State
from tests.image_bombs import bombs, harmless, saved
from tests.named_features import settings_of, state_of
from tools.errors import IntegrityError, UsageError

ROOT = Path(__file__).parent.parent
BOMBS, HARMLESS = bombs(), harmless()


@pytest.fixture
def state(redis: redis_module.Redis, tmp_path: Path) -> State:
    return state_of(redis, tmp_path)


@pytest.fixture
def pictures(state: State, tmp_path: Path) -> ServedPictures:
    return ServedPictures(settings_of(tmp_path), state)


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("side", SIDES)
def test_a_thumbnail_fits_its_square_and_twenty_kilobytes(
    pictures: ServedPictures, state: State, side: int
) -> None:
    sha = state.images.put(noise(701, 400))
    data = pictures.thumbnail(sha, side)
    shown = opened(data)
    assert shown.format == "WEBP" and max(shown.size) == side and len(data) <= MOST_BYTES
    assert shown.width / shown.height == pytest.approx(701 / 400, rel=0.05)


def test_a_small_picture_is_neither_enlarged_nor_changed(pictures: ServedPictures, state: State) -> None:
    sha = state.images.put(noise(32, 24))
    shown = opened(pictures.thumbnail(sha, 96))
    assert shown.size == (32, 24)
    assert np.array_equal(np.asarray(shown.convert("RGB")), np.asarray(noise(32, 24)))


def test_a_thumbnail_is_made_once(pictures: ServedPictures, state: State, tmp_path: Path) -> None:
    sha = state.images.put(noise(300, 300))
    first = pictures.thumbnail(sha, 96)
    (kept,) = (tmp_path / "thumbnails").rglob("*.webp")
    assert kept.read_bytes() == first
    Path(state.images.path_or_url(sha)).unlink()
    assert pictures.thumbnail(sha, 96) == first


def test_a_thumbnail_is_shown_where_it_cannot_be_kept(
    pictures: ServedPictures, state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sha = state.images.put(noise(300, 300))
    (tmp_path / "thumbnails").write_text("in the way")
    with caplog.at_level("WARNING"):
        assert opened(pictures.thumbnail(sha, 96)).size == (96, 96)
    assert "cannot be kept" in caplog.text


def test_threads_make_one_thumbnail(pictures: ServedPictures, state: State) -> None:
    sha, found = state.images.put(noise(500, 500)), list[bytes]()
    threads = [threading.Thread(target=lambda: found.append(pictures.thumbnail(sha, 192))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_a_whole_picture_is_what_its_name_says(pictures: ServedPictures, state: State) -> None:
    sha = state.images.put(noise(20, 20))
    data = pictures.png(sha)
    assert hashlib.sha256(data).hexdigest() == sha
    Path(state.images.path_or_url(sha)).write_bytes(data[:-1])
    with pytest.raises(IntegrityError):
        pictures.png(sha)
    with pytest.raises(IntegrityError):
        pictures.thumbnail(sha, 64)


@pytest.mark.parametrize(
    "sha", ["", "a" * 63, "A" * 64, "../" * 20, "a" * 64 + "\n", "/etc/passwd", "é" * 64]
)
def test_only_hashes_reach_the_disk(pictures: ServedPictures, sha: str) -> None:
    for ask in (pictures.png, lambda bad: pictures.thumbnail(bad, 96)):
        with pytest.raises(UsageError, match="no sha256"):
            ask(sha)


def test_what_is_not_there_is_not_found(pictures: ServedPictures) -> None:
    for ask in (pictures.png, lambda sha: pictures.thumbnail(sha, 96)):
        with pytest.raises(NotFound):
            ask("0" * 64)
    with pytest.raises(UsageError, match="64, 96, 192, 384"):
        pictures.thumbnail("0" * 64, 100)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_two_seconds(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.process_time()
    with pytest.raises(UsageError) as refused:
        read_picture(BOMBS[name])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 2.5 and time.process_time() - began < 0.5
    told = str(refused.value)
    assert told.startswith("The image") and len(told) < 120 and "Error" not in told


MEMORY = """
import resource
from namesae.service.picture_reading import read_picture
from tests.image_bombs import bombs
from tools.errors import UsageError
for bomb in bombs().values():
    try:
        read_picture(bomb)
    except UsageError:
        pass
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_no_bomb_takes_half_a_gigabyte() -> None:
    # In a process of its own: the kernel keeps the largest child there ever was, and a fork begins as large
    # as its parent.
    told = subprocess.run(
        [sys.executable, "-c", MEMORY], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(told.stdout) < 512 * 1024, "kB"


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_odd_but_harmless_is_shown(name: str) -> None:
    picture = read_picture(HARMLESS[name])
    assert picture.mode == "RGB" and picture.size in ((24, 16), (16, 16), (1, 1), (10, 200))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_read_as_it_is(form: str) -> None:
    data = saved(form, size=(40, 30))
    assert np.array_equal(np.asarray(read_picture(data)), np.asarray(opened(data).convert("RGB")))


def test_a_photo_stands_upright_and_a_large_one_is_reduced() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    buffer = io.BytesIO()
    noise(40, 20).save(buffer, "JPEG", exif=turned)
    assert read_picture(buffer.getvalue()).size == (20, 40)
    assert max(read_picture(saved("JPEG", size=(5000, 300))).size) == 2048


def test_the_service_lives_on_after_a_bomb() -> None:
    with pytest.raises(UsageError):
        read_picture(BOMBS["a PNG of 2^31 lines"])
    assert read_picture(saved("PNG")).size == (24, 16)
