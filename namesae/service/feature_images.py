"""What the features of dictionaries do on pictures that people send."""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from namesae.dictionaries import FAKE, Listed
from tools.protocols import ScoreImages, SparseCode

if TYPE_CHECKING:
    from PIL import Image

MOST_LOADED = 2


class _Table:
    """Pictures while they are scored, kept nowhere; implements StoresImages."""

    def __init__(self) -> None:
        self._held: dict[str, Image.Image] = {}

    def put(self, image: Image.Image) -> str:
        """Lay a picture down."""
        name = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
        self._held[name] = image
        return name

    def put_many(self, images: Sequence[Image.Image]) -> list[str]:
        """Lay pictures down."""
        return [self.put(image) for image in images]

    def get(self, image: str) -> Image.Image:
        """A picture that lies here."""
        return self._held[image]

    def clear(self) -> None:
        """Take all away."""
        self._held.clear()


class _Scorer:
    """A dictionary's scorer and the table it looks at."""

    def __init__(self, listed: Listed, sums: MutableMapping[str, str]) -> None:
        self._table = _Table()
        self._score = _open(listed, self._table, sums)
        self._lock = Lock()

    def __call__(self, image: Image.Image) -> SparseCode:
        with self._lock:
            try:
                return self._score([self._table.put(image)])[0]
            finally:
                self._table.clear()


class ImageScorers:
    """Scorers of the dictionaries asked last, their models loaded when first used. Threads may share them."""

    def __init__(self, sums: MutableMapping[str, str]) -> None:
        """``sums``: of files read before."""
        self._sums = sums
        self._lock = Lock()
        self._held: dict[Listed, _Scorer] = {}

    def score(self, listed: Listed, image: Image.Image) -> SparseCode:
        """The features active on a picture."""
        return self._scorer(listed)(image)

    def _scorer(self, listed: Listed) -> _Scorer:
        with self._lock:
            scorer = self._held.pop(listed, None) or _Scorer(listed, self._sums)
            while len(self._held) >= MOST_LOADED:
                del self._held[next(iter(self._held))]
            self._held[listed] = scorer
            return scorer


def _open(listed: Listed, table: _Table, sums: MutableMapping[str, str]) -> ScoreImages:
    if listed.folder is None:
        from tools.fake_features import FAKE_FEATURES, FakeScorer

        return FakeScorer(table, FAKE, FAKE_FEATURES)
    from tools.scoring import load_scorer

    return load_scorer(listed.folder, table, sums=sums)
