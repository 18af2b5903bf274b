"""Images decoded and preprocessed by threads, in order, some in advance of the backbone."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from torch import Tensor

from sae.backbone import VisionBackbone
from sae.errors import BadImages
from sae.image_source import ImageSource
from sae.store.manifest import ImageEntry, Skipped


class Prepared(NamedTuple):
    """An image as the backbone wants it."""

    entry: ImageEntry
    pixels: Tensor
    """(3, h, w)"""


@dataclass(frozen=True)
class PixelReader:
    """Reads a source's images for a backbone."""

    source: ImageSource
    backbone: VisionBackbone
    workers: int = 4
    in_advance: int = 64
    """Images that are decoded before they are asked for."""

    def read(self, rows: Iterable[int], *, skip: bool) -> Generator[Prepared | Skipped]:
        """The images of some rows in order. BadImages at one that cannot be decoded, unless ``skip``."""
        left = iter(rows)
        with ThreadPoolExecutor(self.workers, thread_name_prefix="pixels") as pool:
            waiting: deque[Future[Prepared | Skipped]] = deque(
                pool.submit(self._prepared, row, skip=skip) for row in islice(left, self.in_advance)
            )
            try:
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(pool.submit(self._prepared, row, skip=skip) for row in islice(left, 1))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _prepared(self, row: int, *, skip: bool) -> Prepared | Skipped:
        key = self.source.key(row)
        try:
            picture = self.source.read(row)
        except BadImages as error:
            if skip:
                return Skipped(row=row, image=key, why=str(error))
            raise
        entry = ImageEntry(row=row, image=key, sha256=picture.sha256, label=picture.label)
        return Prepared(entry, self.backbone.preprocess([picture.image])[0])
