"""Decodes one picture of a stranger's, in a process of its own that may use little time and memory.

Run by its path: bytes on stdin; ``WIDTH HEIGHT`` and RGB bytes on stdout, or a word why not on stderr.
"""

from __future__ import annotations

import contextlib
import io
import resource
import sys

MOST_BYTES = 20_000_000
MOST_PIXELS = 50_000_000
MOST_SCANS = 100
"""Of a JPEG: progressive ones have about ten, and each goes over the whole picture."""
MOST_SIDE = 2048
"""Larger pictures are reduced to it: backbones read far less."""
MOST_RATIO = 20
"""Of the sides: a backbone enlarges the shorter one to what it reads."""
CPU_S = 2
MEMORY = 1 << 30
REFUSED = 3
"""Exit code; the word on stderr says why."""


def main() -> int:
    """Decode what is on stdin."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    word, body = _decode(data, sys.argv[1])
    sys.stderr.write(word)
    sys.stdout.buffer.write(body)
    return REFUSED if word else 0


def _decode(data: bytes, form: str) -> tuple[str, bytes]:
    from PIL import Image, ImageOps

    if form == "JPEG" and data.count(b"\xff\xda") > MOST_SCANS:
        return "unreadable", b""
    # Ours is stricter, and says it in our words.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(io.BytesIO(data), formats=(form,)) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                return "pixels", b""
            if max(opened.size) > MOST_RATIO * min(opened.size):
                return "narrow", b""
            # A phone's JPEG may hold smaller pictures after the first, which are no frames.
            if opened.format != "MPO" and getattr(opened, "n_frames", 1) != 1:
                return "frames", b""
            opened.draft("RGB", (MOST_SIDE, MOST_SIDE))
            opened.thumbnail((MOST_SIDE, MOST_SIDE), reducing_gap=2.0)
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except Exception:  # noqa: BLE001 - whatever a decoder raises at what it was never written for
        return "unreadable", b""
    return "", f"{picture.width} {picture.height}\n".encode() + picture.tobytes()


if __name__ == "__main__":
    sys.exit(main())
