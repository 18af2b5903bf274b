"""Pictures that no decoder should be handed, by what is wrong with them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"


def saved(form: str, *, size: tuple[int, int] = (24, 16), mode: str = "RGB", **options: object) -> bytes:
    """A picture of noise."""
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, data: bytes | None = None) -> bytes:
    """A grey PNG of zeros; ``more``: parts before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = zlib.compress(b"\0" * ((width + 1) * height)) if data is None else data
    return PNG + header + b"".join(more) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def frames(form: str) -> bytes:
    """Three pictures one after another."""
    each = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 100, 200)]
    buffer = io.BytesIO()
    each[0].save(buffer, form, save_all=True, append_images=each[1:])
    return buffer.getvalue()


def large_jpeg() -> bytes:
    """A JPEG whose header says 65,500 pixels each way."""
    data = bytearray(saved("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def large_webp() -> bytes:
    """A WEBP whose canvas is as large as the format allows."""
    canvas = b"\0\0\0\0" + (16382).to_bytes(3, "little") * 2
    body = b"WEBP" + b"VP8X" + struct.pack("<I", len(canvas)) + canvas + saved("WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def many_scans(count: int) -> bytes:
    """A progressive JPEG of 36 megapixels with one of its scans over and over."""
    buffer = io.BytesIO()
    Image.new("L", (6000, 6000), 128).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    starts = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    scan = data[starts[-1] : data.rindex(b"\xff\xd9")]
    return data[: starts[-1]] + scan * count + b"\xff\xd9"


def bombs() -> dict[str, bytes]:
    """What is refused, by its name."""
    text = zlib.compress(b"a" * 200_000_000)
    return {
        "nothing": b"",
        "one byte": b"\x89",
        "words": b"not a picture " * 10,
        "larger than 20 MB": PNG + b"\0" * 20_000_001,
        "a PNG's first bytes": PNG,
        "a PNG and noise": PNG + bytes(np.random.default_rng(0).integers(0, 255, 5000, dtype=np.uint8)),
        "a PNG of 65,000 by 65,000": png(65000, 65000, data=zlib.compress(b"\0" * 1_000_000)),
        "a PNG of 60 megapixels": png(60_000, 1000),
        "a PNG as narrow as a line": saved("PNG", size=(1, 2048)),
        "a JPEG as flat as a line": saved("JPEG", size=(2048, 1)),
        "a PNG of no width": png(0, 16),
        "a PNG of 2^31 lines": png(1, 2**31 - 1, data=b""),
        "a PNG with another sum": saved("PNG")[:-20] + b"\0" * 20,
        "a truncated PNG": saved("PNG", size=(200, 200))[:-3000],
        "a truncated JPEG": saved("JPEG", size=(200, 200))[:300],
        "a truncated WEBP": saved("WEBP", size=(200, 200))[:300],
        "a PNG with 200 MB of packed text": png(16, 16, chunk(b"zTXt", b"Comment\0\0" + text)),
        "a PNG with 200 MB of colour profile": png(16, 16, chunk(b"iCCP", b"x\0\0" + text)),
        "a PNG of three frames": frames("PNG"),
        "a WEBP of three frames": frames("WEBP"),
        "a GIF of three frames": frames("GIF"),
        "a TIFF": saved("TIFF"),
        "a BMP": saved("BMP"),
        "an ICO": saved("ICO"),
        "a PPM": saved("PPM"),
        "a JPEG 2000": saved("JPEG2000"),
        "a PostScript program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "an SVG that calls out": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://x/"/></svg>',
        "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "a zip": b"PK\x03\x04" + b"\0" * 100,
        "a JPEG of 65,500 by 65,500": large_jpeg(),
        "a WEBP of 16,383 by 16,383": large_webp(),
        "a JPEG of three thousand scans": many_scans(3000),
        "a JPEG of ninety scans": many_scans(90),
    }


def harmless() -> dict[str, bytes]:
    """What is odd and can be shown: the pixels are taken, all else is left."""
    return {
        "a zip behind a PNG": saved("PNG") + b"PK\x03\x04" + b"\0" * 5000,
        "a page behind a JPEG": saved("JPEG") + b"<script>alert(1)</script>",
        "a PNG of many parts": png(16, 16, *[chunk(b"teXt", b"a\0b")] * 20_000),
        "a single pixel": saved("PNG", size=(1, 1)),
        "a strip": saved("PNG", size=(10, 200)),
        "a grey picture": saved("PNG", mode="L"),
        "a picture with an alpha channel": saved("PNG", mode="RGBA"),
        "a palette": saved("PNG", mode="P"),
        "a CMYK JPEG": saved("JPEG", mode="CMYK"),
    }
