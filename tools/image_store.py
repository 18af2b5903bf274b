"""Images by the sha256 of their PNG bytes: complete and on the disk before their id is known to anyone."""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tools.errors import DependencyError, IntegrityError

if TYPE_CHECKING:
    from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
COMPRESSION = 1
"""zlib level: a tenth larger than the default, at a third of the time."""
MAX_PIXELS = 50_000_000
_ID = re.compile(r"[0-9a-f]{64}")


class _Files(Protocol):
    def where(self, name: str) -> str: ...
    def has(self, name: str) -> bool: ...
    def read(self, name: str) -> bytes: ...
    def write(self, name: str, data: bytes) -> None: ...


class _LocalFiles:
    """A folder: temporary name, fsync, rename, fsync of every folder the new entry is in."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def where(self, name: str) -> str:
        return str(self.root / name)

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        path = self.root / name
        is_new = not path.parent.is_dir()
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        for folder in (path.parent, *((path.parents[1], path.parents[2]) if is_new else ())):
            _sync(folder)


class _RemoteFiles:
    """Any fsspec file system whose writes appear whole, as object stores' do."""

    def __init__(self, url: str) -> None:
        import fsspec

        try:
            found: tuple[Any, str] = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise DependencyError(f"Image store {url!r} cannot be opened: {error}.") from error
        self.system, self.root = found

    def where(self, name: str) -> str:
        return str(self.system.unstrip_protocol(f"{self.root}/{name}"))

    def has(self, name: str) -> bool:
        return bool(self.system.isfile(f"{self.root}/{name}"))

    def read(self, name: str) -> bytes:
        return bytes(self.system.cat_file(f"{self.root}/{name}"))

    def write(self, name: str, data: bytes) -> None:
        self.system.makedirs(f"{self.root}/{name}".rpartition("/")[0], exist_ok=True)
        self.system.pipe_file(f"{self.root}/{name}", data)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name(image: str) -> str:
    # Ids come from outside too: only a hash becomes a path.
    if not _ID.fullmatch(image):
        raise ValueError(f"Image id {image[:80]!r} is not a sha256: give 64 lower-case hex digits.")
    return f"{image[:2]}/{image[2:4]}/{image}.png"


class ImageStore:
    """Images under a folder or an fsspec URL (s3://…, gs://…), sharded by the first digits of their id."""

    def __init__(self, url: str | Path) -> None:
        text = str(url)
        is_local = "://" not in text or text.startswith("file://")
        local = Path(text.removeprefix("file://")).expanduser().absolute()
        self._files: _Files = _LocalFiles(local) if is_local else _RemoteFiles(text)

    def put(self, image: Image.Image) -> str:
        """Store a picture as RGB without its metadata; equal pixels get an equal id."""
        plain = image.convert("RGB")
        plain.info = {}
        buffer = io.BytesIO()
        plain.save(buffer, format="PNG", compress_level=COMPRESSION)
        return self.put_png(buffer.getvalue())

    def put_png(self, data: bytes) -> str:
        """Store PNG bytes as they are; ValueError if they are none, DependencyError if the disk is full."""
        if not data.startswith(PNG):
            raise ValueError(
                f"{len(data)} bytes that start with {data[:8]!r} are not a PNG: encode the image."
            )
        image = hashlib.sha256(data).hexdigest()
        if self.has(image):
            return image
        try:
            self._files.write(_name(image), data)
        except OSError as error:
            raise DependencyError(
                f"Image store {self.path_or_url(image)} cannot be written ({error.strerror or error}"
                f"{_free(self.path_or_url(image))}): make room, then continue."
            ) from error
        return image

    def png(self, image: str) -> bytes:
        """The PNG bytes; KeyError names a missing image, IntegrityError one whose bytes have changed."""
        try:
            data = self._files.read(_name(image))
        except FileNotFoundError as error:
            raise KeyError(f"Image {image} is not in the store ({self.path_or_url(image)}).") from error
        if hashlib.sha256(data).hexdigest() != image:
            raise IntegrityError(
                f"Image {self.path_or_url(image)} is not what its name says: delete it and it is drawn again."
            )
        return data

    def get(self, image: str) -> Image.Image:
        """The picture, decoded; KeyError and IntegrityError as for ``png``."""
        from PIL import Image

        with Image.open(io.BytesIO(self.png(image)), formats=("PNG",)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise IntegrityError(
                    f"Image {image} has {opened.size} pixels, more than {MAX_PIXELS}: reduce it."
                )
            opened.load()
            return opened

    def has(self, image: str) -> bool:
        """Whether the picture is here; its bytes are not read."""
        return self._files.has(_name(image))

    def path_or_url(self, image: str) -> str:
        """Where the picture lies, or would lie."""
        return self._files.where(_name(image))


def _free(path: str) -> str:
    existing = next((folder for folder in Path(path).parents if folder.is_dir()), None)
    if existing is None:
        return ""
    return f", {shutil.disk_usage(existing).free / 1e6:.0f} MB free"
