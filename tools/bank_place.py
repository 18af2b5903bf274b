"""Where the segments of a bank lie: a folder, or any fsspec URL with copies in a folder here."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

from sae.column_file import column_file
from sae.whole_file import sync_folder
from tools.bank_segment import CARD, read_card
from tools.errors import DependencyError, IntegrityError

DRAFT = ".draft-"
ABANDONED_S = 86_400.0
"""A draft that nobody has written to for so long is of a process that was killed."""
UNUSED_S = 3600.0
"""A copy of a segment that is no longer live is kept this long."""


class Place(Protocol):
    """Segments by name, each whole or absent."""

    def folder(self, name: str) -> Path:
        """A folder here with the segment's files; FileNotFoundError where there is none."""
        ...

    def draft(self) -> contextlib.AbstractContextManager[Path]:
        """An empty folder to write a segment to; gone after the block unless it was published."""
        ...

    def publish(self, draft: Path, name: str) -> None:
        """Make a durable draft a segment."""
        ...

    def delete(self, name: str) -> None:
        """Nothing happens where it is gone."""
        ...

    def tidy(self, live: Collection[str]) -> None:
        """Drop what killed processes left, and copies of what is not live."""
        ...


class LocalPlace:
    """A folder, on a disk that this machine may share with others."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str) -> Path:
        """As in Place."""
        if not (self.root / name / CARD).is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.root / name))
        return self.root / name

    @contextlib.contextmanager
    def draft(self) -> Iterator[Path]:
        """As in Place."""
        path = self.root / f"{DRAFT}{secrets.token_hex(8)}"
        path.mkdir(parents=True)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def publish(self, draft: Path, name: str) -> None:
        """As in Place."""
        draft.rename(self.root / name)
        for folder in (self.root, *self.root.parents[:2]):
            sync_folder(folder)

    def delete(self, name: str) -> None:
        """As in Place."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.root / name)

    def tidy(self, live: Collection[str]) -> None:
        """As in Place. Segments it does not know may be another Redis's: they stay."""
        for path in self._older(ABANDONED_S):
            if path.name.startswith(DRAFT):
                shutil.rmtree(path, ignore_errors=True)

    def copies(self) -> list[str]:
        """Names of segments that were put here some time ago."""
        return [path.name for path in self._older(UNUSED_S) if not path.name.startswith(DRAFT)]

    def _older(self, seconds: float) -> list[Path]:
        before = time.time() - seconds
        found = []
        for path in self.root.iterdir() if self.root.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    found.append(path)
        return found


class RemotePlace:
    """Any fsspec file system; a segment is copied here when it is first read, and its sums are checked."""

    def __init__(self, url: str, copies: Path) -> None:
        import fsspec

        try:
            found: tuple[Any, str] = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise DependencyError(f"Bank folder {url!r} cannot be opened: {error}.") from error
        self.system, self.root = found
        self.copies = LocalPlace(copies)

    def folder(self, name: str) -> Path:
        """As in Place; IntegrityError where a file is not the one that was written."""
        with contextlib.suppress(FileNotFoundError):
            return self.copies.folder(name)
        with self.copies.draft() as draft:
            self._fetch(name, CARD, draft)
            for file in read_card(draft, name).files:
                path = column_file(draft, file.column)
                self._fetch(name, path.name, draft)
                if _sum(path) != file.sha256:
                    raise IntegrityError(
                        f"{self.root}/{name}/{path.name} has changed: restore it from a copy."
                    )
            # Another process may have copied it meanwhile.
            with contextlib.suppress(OSError):
                draft.rename(self.copies.root / name)
        return self.copies.folder(name)

    def draft(self) -> contextlib.AbstractContextManager[Path]:
        """As in Place."""
        return self.copies.draft()

    def publish(self, draft: Path, name: str) -> None:
        """As in Place; the card goes last, so what has one is whole."""
        names = sorted(path.name for path in draft.iterdir())
        self.system.makedirs(f"{self.root}/{name}", exist_ok=True)
        for each in [*(file for file in names if file != CARD), CARD]:
            self.system.put_file(str(draft / each), f"{self.root}/{name}/{each}")
        self.copies.publish(draft, name)

    def delete(self, name: str) -> None:
        """As in Place."""
        with contextlib.suppress(FileNotFoundError):
            self.system.rm(f"{self.root}/{name}", recursive=True)
        self.copies.delete(name)

    def tidy(self, live: Collection[str]) -> None:
        """As in Place."""
        self.copies.tidy(live)
        for name in self.copies.copies():
            if name not in live:
                self.copies.delete(name)

    def _fetch(self, name: str, file: str, draft: Path) -> None:
        self.system.get_file(f"{self.root}/{name}/{file}", str(draft / file))


def place_of(url: str | Path, bank: str) -> Place:
    """The place of one bank, ``bank`` being a hash, under a folder or an fsspec URL."""
    text = str(url)
    if "://" not in text or text.startswith("file://"):
        return LocalPlace(Path(text.removeprefix("file://")).expanduser().absolute() / bank)
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
    return RemotePlace(f"{text.rstrip('/')}/{bank}", base / "namesae" / "bank" / bank)


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
