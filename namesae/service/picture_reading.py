"""Pictures that strangers send, decoded where a bomb does no harm."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from namesae.service.picture_child import MOST_BYTES, MOST_PIXELS, MOST_RATIO
from tools.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

WALL_S = 10.0
AT_ONCE = 2
"""Pictures decoded at a time."""
_CHILD = Path(__file__).with_name("picture_child.py")
_HEADER = re.compile(rb"([1-9][0-9]{0,4}) ([1-9][0-9]{0,4})\n")
_TURNS = BoundedSemaphore(AT_ONCE)
_WHY = {
    "pixels": f"has more than {MOST_PIXELS // 1_000_000} megapixels; reduce it",
    "narrow": f"has one side more than {MOST_RATIO} times as long as the other; crop it",
    "frames": "has several frames; send one of them",
    "unreadable": "cannot be decoded; save it again as PNG, JPEG or WEBP",
}


def read_picture(data: bytes) -> Image.Image:
    """The picture in RGB, upright, its longest side at most 2,048 pixels.

    UsageError for what is no PNG, JPEG or WEBP, is larger than 20 MB or 50 megapixels, more than 20
    times longer than wide, has several frames, or cannot be decoded in 2 s and 1 GB.
    """
    from PIL import Image

    if len(data) > MOST_BYTES:
        raise UsageError(
            f"The image has {len(data) / 1e6:.1f} MB, more than {MOST_BYTES // 1_000_000} MB; reduce it."
        )
    with _TURNS:
        told = _decoded(data, _form_of(data))
    header = _HEADER.match(told)
    size = (int(header[1]), int(header[2])) if header else (0, 0)
    body = told[header.end() :] if header else b""
    if header is None or len(body) != 3 * size[0] * size[1]:
        raise _refused("unreadable")
    return Image.frombytes("RGB", size, body)


def _form_of(data: bytes) -> str:
    """PIL's name of the format that the first bytes say."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise UsageError(f"The image of {len(data):,} bytes is no PNG, JPEG or WEBP; send one of these.")


def _decoded(data: bytes, form: str) -> bytes:
    command = [sys.executable, "-I", str(_CHILD), form]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=WALL_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise _costly() from error
    word = done.stderr.decode(errors="replace").strip()
    if done.returncode == 0:
        return done.stdout
    raise _refused(word) if word in _WHY else _costly()


def _refused(word: str) -> UsageError:
    return UsageError(f"The image {_WHY[word]}.")


def _costly() -> UsageError:
    return UsageError("The image takes too much time or memory to decode; save it again, smaller.")
