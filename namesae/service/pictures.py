"""Images by hash, for browsers: whole, or as thumbnails that are made once and kept."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from namesae.service.errors import NotFound
from sae.whole_file import whole_file
from tools.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

    from namesae.settings import Settings
    from namesae.wiring import State

log = logging.getLogger(__name__)

Side = Literal[64, 96, 192, 384]
SIDES: tuple[Side, ...] = (64, 96, 192, 384)
THUMBNAIL_TYPE = "image/webp"
IMAGE_TYPE = "image/png"
MOST_BYTES = 20_000
QUALITIES = (85, 70, 50, 30, 10)
"""Of WEBP, the best that is small enough; a smaller picture where none is."""
_ID = re.compile(r"[0-9a-f]{64}")


class ServedPictures:
    """The image store, as pages show it. Safe to call from several threads at once."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._store, self._folder = state.images, settings.home / "thumbnails"

    def png(self, sha: str) -> bytes:
        """The picture as PNG (``IMAGE_TYPE``); NotFound without one, UsageError for an id that is none."""
        _check(sha)
        try:
            return self._store.png(sha)
        except KeyError as error:
            raise _missing(sha) from error

    def thumbnail(self, sha: str, side: int) -> bytes:
        """The picture within a square of ``side`` pixels, never enlarged, as WEBP (``THUMBNAIL_TYPE``) of at
        most 20 kB; errors as for ``png``, and UsageError for another side."""
        _check(sha)
        if side not in SIDES:
            raise UsageError(f"Thumbnails have a side of {', '.join(map(str, SIDES))} pixels, not {side}.")
        path = self._folder / str(side) / sha[:2] / f"{sha}.webp"
        try:
            return path.read_bytes()
        except OSError:
            return self._made(sha, side, path)

    def _made(self, sha: str, side: int, path: Path) -> bytes:
        try:
            picture = self._store.get(sha)
        except KeyError as error:
            raise _missing(sha) from error
        data = _small(picture.convert("RGB"), side)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as partial:
                partial.write_bytes(data)
        except OSError as error:
            # It can be shown all the same, and is made again next time.
            log.warning("Thumbnail %s cannot be kept (%s); make room.", path, error.strerror)
        return data


def _small(picture: Image.Image, side: int) -> bytes:
    """WEBP of at most ``MOST_BYTES``, without a loss where that is small enough."""
    picture.thumbnail((side, side), reducing_gap=3.0)
    exact = _webp(picture, lossless=True)
    if len(exact) <= MOST_BYTES // 4:
        return exact
    while True:
        for quality in QUALITIES:
            if len(data := _webp(picture, quality=quality)) <= MOST_BYTES:
                return data
        picture = picture.reduce(2)


def _webp(picture: Image.Image, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", **options)
    return buffer.getvalue()


def _check(sha: str) -> None:
    if not _ID.fullmatch(sha):
        raise UsageError(f"Image id {sha[:80]!r} is no sha256; give 64 lower-case hex digits.")


def _missing(sha: str) -> NotFound:
    return NotFound(f"Image {sha} is not in the store.")
