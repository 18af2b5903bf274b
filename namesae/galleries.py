"""Pictures that can be made again at any time: drawn worlds and image folders, by id, none of them stored.

A probe set and a control set hold thousands of pictures of which a person sees a dozen; only those are
written to the image store (``Shelf.keep``).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from tools.digest import digest
from tools.errors import UsageError
from tools.image_store import ImageStore, png_of

if TYPE_CHECKING:
    from PIL import Image

    from sandbox.sets import ImageSet

Part = Literal["probe", "control", "judge"]
SEEDS: dict[Part, int] = {"probe": 1, "control": 2, "judge": 3}
"""Of the choice among a folder's pictures."""


class Pictures(Protocol):
    """A fixed, ordered set of pictures."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever a picture would; known without making any."""
        ...

    def __len__(self) -> int: ...
    def picture(self, row: int) -> Image.Image: ...
    def share(self, name: str) -> float | None:
        """Share of the pictures that show what a name says; None where nobody knows."""
        ...


class FolderPictures:
    """Pictures of a folder, chosen with a seed."""

    def __init__(self, folder: Path, *, count: int, seed: int, apart: Iterable[FolderPictures] = ()) -> None:
        """``apart``: choices whose pictures are not chosen again."""
        import numpy as np

        from tools.image_folder import list_images

        taken: set[Path] = {path for other in apart for path in other.paths}
        found = [path for path in list_images(folder) if path not in taken]
        order = np.random.default_rng(seed).permutation(len(found))[:count]
        self.paths: list[Path] = [found[at] for at in order]
        told = [(str(path.relative_to(folder)), path.stat()) for path in self.paths]
        self.fingerprint = digest(
            pictures="folder",
            folder=str(folder.resolve()),
            files=[[name, stat.st_size, stat.st_mtime_ns] for name, stat in told],
        )

    def __len__(self) -> int:
        return len(self.paths)

    def picture(self, row: int) -> Image.Image:
        """The picture as RGB; UsageError names one that cannot be decoded."""
        from tools.image_folder import read_image

        return read_image(self.paths[row])

    def share(self, name: str) -> float | None:
        """Nothing is known of a folder's pictures."""
        return None


class SandboxPictures:
    """A fixed set of the drawn world, 'probe', 'control' or 'judge', with exact labels."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self.fingerprint = digest(pictures="sandbox.sets", part=part, code=_sandbox_code())

    def __len__(self) -> int:
        return len(self._set)

    @cached_property
    def _set(self) -> ImageSet:
        from sandbox.sets import image_set

        return image_set(self._part)

    @cached_property
    def _drawn(self) -> list[Image.Image]:
        return self._set.pictures()

    def picture(self, row: int) -> Image.Image:
        """The picture of a scene; the first call draws all."""
        return self._drawn[row]

    def share(self, name: str) -> float | None:
        """Share of the pictures that show what a name says; None where a word is not the world's."""
        return self._set.share(name)


SOURCES: dict[str, Callable[[Part], Pictures]] = {"sandbox.sets": SandboxPictures}
"""Data sets known by id, as a dictionary's card names its probe set."""


def open_pictures(
    source: str, part: Part, *, count: int, beside: Path | None = None, apart: Iterable[Pictures] = ()
) -> Pictures:
    """Pictures of a data set known by id, or of a folder, relative to ``beside`` where one is given there.

    ``apart``: other choices, whose pictures are not chosen from a folder again.
    """
    if source in SOURCES:
        return SOURCES[source](part)
    inside = beside / source if beside is not None else None
    folder = inside if inside is not None and inside.is_dir() else Path(source).expanduser()
    if not folder.is_dir():
        raise UsageError(
            f"Image folder {source} does not exist; give a folder of pictures or a set: {', '.join(SOURCES)}."
        )
    others = [other for other in apart if isinstance(other, FolderPictures)]
    return FolderPictures(folder, count=count, seed=SEEDS[part], apart=others)


class Gallery:
    """Pictures by the id they would have in an image store."""

    def __init__(self, pictures: Pictures, folder: Path) -> None:
        """``folder``: where the ids are remembered, so that they need not be worked out again."""
        self.pictures = pictures
        self._path = folder / f"{pictures.fingerprint}.json"
        self.images: tuple[str, ...] = self._remembered() or self._worked_out()
        self._rows = {image: row for row, image in enumerate(self.images)}

    def __contains__(self, image: str) -> bool:
        return image in self._rows

    def picture(self, image: str) -> Image.Image:
        """The picture of an id; KeyError for one that is not here."""
        return self.pictures.picture(self._rows[image])

    def _remembered(self) -> tuple[str, ...]:
        try:
            held = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return ()
        return tuple(held) if isinstance(held, list) and len(held) == len(self.pictures) else ()

    def _worked_out(self) -> tuple[str, ...]:
        pictures = (self.pictures.picture(row) for row in range(len(self.pictures)))
        images = tuple(hashlib.sha256(png_of(picture)).hexdigest() for picture in pictures)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        partial.write_text(json.dumps(images))
        partial.replace(self._path)
        return images


class HoldsPictures(Protocol):
    """What a shelf reads pictures from."""

    def __contains__(self, image: str) -> bool: ...
    def picture(self, image: str) -> Image.Image: ...


class Shelf:
    """The image store with galleries beside it; implements StoresImages. New pictures go to the store."""

    def __init__(self, store: ImageStore) -> None:
        self.store = store
        self._galleries: list[HoldsPictures] = []

    def show(self, gallery: HoldsPictures) -> None:
        """Make a gallery's pictures readable here."""
        self._galleries.append(gallery)

    def put(self, image: Image.Image) -> str:
        """Store a picture."""
        return self.store.put(image)

    def put_many(self, images: Sequence[Image.Image]) -> list[str]:
        """Store pictures and return their ids, in order."""
        return self.store.put_many(images)

    def get(self, image: str) -> Image.Image:
        """A picture of the store or of a gallery; KeyError names a missing one."""
        for gallery in self._galleries:
            if image in gallery:
                return gallery.picture(image)
        return self.store.get(image)

    def png(self, image: str) -> bytes:
        """The picture as PNG bytes."""
        return self.store.png(image) if self.store.has(image) else png_of(self.get(image))

    def has(self, image: str) -> bool:
        """Whether ``get`` would find it."""
        return any(image in gallery for gallery in self._galleries) or self.store.has(image)

    def keep(self, images: Sequence[str]) -> None:
        """Write a gallery's pictures to the store, where anyone can read them later."""
        missing = [image for image in images if not self.store.has(image)]
        self.store.put_pngs([png_of(self.get(image)) for image in missing])


@cache
def _sandbox_code() -> str:
    """What determines a picture: the code that chooses and draws it, and the library it draws with."""
    from importlib.util import find_spec

    import PIL

    spec = find_spec("sandbox")
    folder = Path((spec.submodule_search_locations or [""])[0]) if spec else Path()
    code = hashlib.sha256(PIL.__version__.encode())
    for path in (*sorted((folder / "world").glob("*.py")), folder / "sets.py"):
        code.update(path.read_bytes())
    return code.hexdigest()[:32]
