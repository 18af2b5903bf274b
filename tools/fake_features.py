"""Planted features and the scorer that reads them out of fake pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from sae.feature import Frozen
from tools.digest import digest
from tools.fake_images import FAKE_FAMILIES, Shown, read_picture, word_code
from tools.protocols import SparseCode, StoresImages

FeatureKind = Literal["word", "and", "or", "not", "family", "dead", "dense"]

_FAINT_CHANCE = 0.1
_FAINT_SIZE = 0.08


class FakeFeature(Frozen):
    """A planted feature: when it fires, and how surely."""

    kind: FeatureKind = "word"
    words: tuple[str, ...] = ()
    """word and not: one; and and or: all; family: the family's name, then its members."""
    rate: float = 1.0
    """Chance that it fires on an image that shows its concept."""
    strength: float = 10.0
    """Mean activation when it fires; other images have none, or a faint one by seed."""

    @property
    def truth(self) -> str:
        """The right name, as a person would write it."""
        joins = {"or": " or ", "and": " "}
        if self.kind in joins:
            return joins[self.kind].join(self.words)
        if self.kind == "not":
            return f"not {self.words[0]}"
        return self.words[0] if self.words else self.kind

    def holds(self, shown: frozenset[int]) -> bool:
        """Whether an image showing these words shows the concept."""
        present = [word_code(word) in shown for word in self.words]
        if self.kind in ("word", "and"):
            return all(present)
        if self.kind in ("or", "family"):
            return any(present)
        return self.kind == "dense" or (self.kind == "not" and not any(present))


class FakeScorer:
    """Reads the words out of a fake image and answers for every planted feature."""

    def __init__(self, store: StoresImages, dictionary: str, features: Mapping[int, FakeFeature]) -> None:
        self.dictionary = dictionary
        self.features = dict(sorted(features.items()))
        self.fingerprint = digest(
            tool="fake-scorer",
            dictionary=dictionary,
            features={str(index): planted.model_dump() for index, planted in self.features.items()},
        )
        self._store = store

    @property
    def n_features(self) -> int:
        """One more than the highest planted index."""
        return max(self.features, default=-1) + 1

    def __call__(self, images: Sequence[str]) -> list[SparseCode]:
        """One SparseCode per image id, in order. KeyError names a missing image."""
        return [self._score(read_picture(self._store.get(image))) for image in images]

    def _score(self, shown: Shown) -> SparseCode:
        rng = np.random.default_rng(shown.noise_seed)
        chance, size = rng.random((2, self.n_features))
        found = {
            index: self._activation(
                planted, fires=planted.holds(shown.words), draw=(chance[index], size[index])
            )
            for index, planted in self.features.items()
        }
        live = {index: value for index, value in found.items() if value > 0}
        return SparseCode(np.array([*live], dtype=np.int32), np.array([*live.values()], dtype=np.float32))

    @staticmethod
    def _activation(planted: FakeFeature, *, fires: bool, draw: tuple[float, float]) -> float:
        chance, size = draw
        if planted.kind == "dead":
            return 0.0
        if fires and chance < planted.rate:
            return planted.strength * (0.8 + 0.4 * size)
        return planted.strength * _FAINT_SIZE * size if size < _FAINT_CHANCE else 0.0


FAKE_FEATURES: dict[int, FakeFeature] = {
    0: FakeFeature(words=("striped",)),
    1: FakeFeature(words=("fish",)),
    2: FakeFeature(words=("red",), rate=0.8),
    3: FakeFeature(words=("water",)),
    4: FakeFeature(kind="and", words=("striped", "fish")),
    5: FakeFeature(kind="or", words=("ball", "forest")),
    6: FakeFeature(kind="not", words=("blue",)),
    7: FakeFeature(kind="family", words=("animal", *FAKE_FAMILIES["animal"])),
    8: FakeFeature(kind="dead"),
    9: FakeFeature(kind="dense"),
    10: FakeFeature(words=("flower",)),
    11: FakeFeature(words=("tree",), rate=0.35),
    12: FakeFeature(words=("boat",)),
}
"""One of each kind; 10 is the broken word of fake_world, 11 fires too rarely for a sure name."""
