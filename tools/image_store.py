"""Images by the sha256 of their PNG bytes: complete and on the disk before their id is known to anyone."""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sae.whole_file import sync_folder
from tools.errors import DependencyError, IntegrityError

if TYPE_CHECKING:
    from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
COMPRESSION = 1
"""zlib level: a tenth larger than the default, at a third of the time."""
MAX_PIXELS = 50_000_000
SYNCS = 16
"""Files synced at a time: a disk that waits for one can take in the others."""
_ID = re.compile(r"[0-9a-f]{64}")


class _Files(Protocol):
    def where(self, name: str) -> str: ...
    def has(self, name: str) -> bool: ...
    def read(self, name: str) -> bytes: ...
    def write(self, files: Mapping[str, bytes]) -> None: ...


class _LocalFiles:
    """A folder: temporary names, fsync, rename, fsync of every folder a new entry is in."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def where(self, name: str) -> str:
        return str(self.root / name)

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def write(self, files: Mapping[str, bytes]) -> None:
        """All files at once; what an error leaves behind is whole."""
        drafts = {self.root / name: _draft(self.root / name) for name in files}
        with ThreadPoolExecutor(min(SYNCS, len(files))) as pool:
            try:
                folders = {folder for path in drafts for folder in _made(path)}
                list(pool.map(_write, drafts.values(), files.values()))
                for path, draft in drafts.items():
                    draft.replace(path)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                for draft in drafts.values():
                    draft.unlink(missing_ok=True)
                raise
            list(pool.map(sync_folder, folders))


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _made(path: Path) -> tuple[Path, ...]:
    """The folder of a file, made if need be, and those above that hold a new entry then."""
    if path.parent.is_dir():
        return (path.parent,)
    path.parent.mkdir(parents=True, exist_ok=True)
    return tuple(path.parents[:3])


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

    def write(self, files: Mapping[str, bytes]) -> None:
        paths = {f"{self.root}/{name}": data for name, data in files.items()}
        for folder in {path.rpartition("/")[0] for path in paths}:
            self.system.makedirs(folder, exist_ok=True)
        self.system.pipe(paths)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


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
        return self.put_many([image])[0]

    def put_many(self, images: Sequence[Image.Image]) -> list[str]:
        """Store pictures and return their ids in order, when all are on the disk; each is whole or absent."""
        return self.put_pngs([png_of(image) for image in images])

    def put_png(self, data: bytes) -> str:
        """Store PNG bytes as they are; errors as for ``put_pngs``."""
        return self.put_pngs([data])[0]

    def put_pngs(self, pngs: Sequence[bytes]) -> list[str]:
        """Store PNG bytes as they are; ValueError if they are none, DependencyError if the disk is full."""
        for data in pngs:
            if not data.startswith(PNG):
                raise ValueError(
                    f"{len(data)} bytes that start with {data[:8]!r} are not a PNG: encode the image."
                )
        images = [hashlib.sha256(data).hexdigest() for data in pngs]
        missing = {_name(each): data for each, data in zip(images, pngs, strict=True) if not self.has(each)}
        if missing:
            self._write(missing)
        return images

    def _write(self, missing: Mapping[str, bytes]) -> None:
        try:
            self._files.write(missing)
        except OSError as error:
            where = self._files.where(next(iter(missing)))
            raise DependencyError(
                f"Image store {where} cannot be written ({error.strerror or error}{_free(where)}): "
                "make room, then continue."
            ) from error

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


def png_of(image: Image.Image) -> bytes:
    """The PNG bytes by which a picture is stored: RGB, without its metadata."""
    plain = image.convert("RGB")
    plain.info = {}
    buffer = io.BytesIO()
    plain.save(buffer, format="PNG", compress_level=COMPRESSION)
    return buffer.getvalue()


def _free(path: str) -> str:
    existing = next((folder for folder in Path(path).parents if folder.is_dir()), None)
    if existing is None:
        return ""
    return f", {shutil.disk_usage(existing).free / 1e6:.0f} MB free"
