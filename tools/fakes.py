"""Deterministic stand-ins for every tool: CPU only, no torch, the same contracts as the real ones.

A fake image says in its pixels which words are shown and with which seed; the fake scorer reads them
back, so planted features answer exactly as planted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sae.feature import Exemplar
from sae.statistics import Ranked, firing_facts, top_words
from tools.bands import quantile_band
from tools.cards import FUNCTION_WORDS, words_of
from tools.digest import digest
from tools.errors import UsageError
from tools.fake_features import FAKE_FEATURES, FakeFeature, FakeScorer
from tools.fake_images import (
    FAKE_FAMILIES,
    FAKE_VOCABULARY,
    FakeGenerator,
    FakeProbe,
    Fault,
    MemoryImageStore,
    fake_probe,
    fake_scenes,
    read_picture,
    word_code,
)
from tools.protocols import FeatureFacts, Floats, StoresImages

__all__ = [
    "FAKE_FAMILIES",
    "FAKE_FEATURES",
    "FAKE_VOCABULARY",
    "FakeControl",
    "FakeExemplars",
    "FakeFeature",
    "FakeGenerator",
    "FakeProbe",
    "FakeScorer",
    "FakeWitness",
    "FakeWorld",
    "MemoryImageStore",
    "fake_probe",
    "fake_scenes",
    "fake_world",
]


FUNCTION_CODES = frozenset(word_code(word) for word in FUNCTION_WORDS)


class FakeControl:
    """A control set of random word scenes whose labels are exact."""

    def __init__(self, probe: FakeProbe) -> None:
        self.images = probe.images
        self._shown = probe.shown
        self._vocabulary = frozenset().union(*probe.shown)
        self.fingerprint = digest(tool="fake-control", images=self.images)

    def share(self, name: str) -> float | None:
        """Exact share of images that show the name: words joined by 'or' or 'not' or nothing (and)."""
        branches = [words_of(part) for part in name.casefold().split(" or ")]
        used = {word for branch in branches for word in branch} - FUNCTION_WORDS - {"not"}
        if not used or not used <= self._vocabulary:
            return None
        return float(
            np.mean([any(_satisfies(branch, shown) for branch in branches) for shown in self._shown])
        )


def _satisfies(branch: Sequence[str], shown: frozenset[str]) -> bool:
    wanted = True
    for word in branch:
        if word == "not":
            wanted = False
        elif word not in FUNCTION_WORDS:
            if (word in shown) is not wanted:
                return False
            wanted = True
    return True


class FakeExemplars:
    """A probe set of random word scenes, scored by a fake scorer.

    ``noise`` is the standard deviation added to every tag's lift and every vocabulary cosine: 0 puts the
    planted words on top, 1 makes them nearly useless.
    """

    def __init__(self, probe: FakeProbe, scorer: FakeScorer, *, noise: float = 0.1, seed: int = 0) -> None:
        codes = scorer(probe.images)
        self._features = scorer.features
        self._activations = np.zeros((len(codes), scorer.n_features), dtype=np.float32)
        for row, code in enumerate(codes):
            self._activations[row, code.indices] = code.values
        self._images = probe.images
        self._words = tuple(sorted(frozenset().union(*probe.shown)))
        self._shows = np.array([[word in shown for word in self._words] for shown in probe.shown], np.float32)
        self._noise = (noise, seed)
        self.fingerprint = digest(
            tool="fake-exemplars", images=probe.images, scorer=scorer.fingerprint, noise=noise, seed=seed
        )

    def __call__(self, index: int, *, count: int, low: float = 0.0, high: float = 1.0) -> list[Exemplar]:
        """Exemplars of a quantile band, highest first."""
        column = self._column(index)
        rows = quantile_band(column, count=count, low=low, high=high)
        return [Exemplar(image=self._images[row], activation=float(column[row])) for row in rows]

    def facts(self, index: int) -> FeatureFacts:
        """Density, threshold, neighbours by shared words, vocabulary and tags with the asked noise."""
        column = self._column(index)
        density, threshold, p99 = firing_facts(column)
        return FeatureFacts(
            density=density,
            threshold=threshold,
            p99=p99,
            neighbours=self._neighbours(index),
            vocabulary=self._vocabulary(index) if density else (),
            tags=self._tags(index, column, threshold) if density else (),
        )

    def activations(self, index: int) -> Floats:
        """(n,) activations of a feature on all probe images."""
        return self._column(index)

    def _column(self, index: int) -> Floats:
        if not 0 <= index < self._activations.shape[1]:
            raise UsageError(f"Feature {index} is out of range: give 0 to {self._activations.shape[1] - 1}.")
        return self._activations[:, index]

    def _neighbours(self, index: int) -> tuple[int, ...]:
        mine = set(self._features[index].words) if index in self._features else set()
        shared = {other: len(mine & set(planted.words)) for other, planted in self._features.items()}
        others = [other for other, count in shared.items() if count and other != index]
        return tuple(sorted(others, key=lambda other: (-shared[other], other)))

    def _vocabulary(self, index: int) -> Ranked:
        planted = self._features.get(index, FakeFeature(kind="dead"))
        sign = -0.3 if planted.kind == "not" else 0.3
        cosines = np.array([sign if word in planted.words else 0.0 for word in self._words])
        return self._ranked(cosines, salt=(index, 1))

    def _tags(self, index: int, column: Floats, threshold: float) -> Ranked:
        spread = np.maximum(self._shows.std(axis=0), 1e-6)
        lifts = (self._shows[column > threshold].mean(axis=0) - self._shows.mean(axis=0)) / spread
        return self._ranked(lifts, salt=(index, 2))

    def _ranked(self, scores: Floats, *, salt: tuple[int, int]) -> Ranked:
        noise, seed = self._noise
        rng = np.random.default_rng((seed, *salt))
        noisy = scores + noise * rng.standard_normal(len(scores))
        return top_words(noisy, self._words)


class FakeWorld(NamedTuple):
    """All fakes, made for each other."""

    store: StoresImages
    draw: FakeGenerator
    score: FakeScorer
    exemplars: FakeExemplars
    control: FakeControl
    features: dict[int, FakeFeature]


class FakeWitness:
    """Reads fake pictures: a text is present (1.0) where a picture shows all its words."""

    def __init__(self, store: StoresImages) -> None:
        self.fingerprint = digest(tool="fake-witness")
        self._store = store

    def __call__(self, images: Sequence[str], texts: Sequence[str]) -> Floats:
        """(n, len(texts)) of 0 and 1."""
        shown = [read_picture(self._store.get(image)).words for image in images]
        wanted = [{word_code(word) for word in words_of(text)} for text in texts]
        codes = [each - FUNCTION_CODES for each in wanted]
        rows = [[float(bool(each) and each <= held) for each in codes] for held in shown]
        return np.array(rows, dtype=np.float32).reshape(len(images), len(texts))


def fake_world(
    store: StoresImages | None = None,
    features: Mapping[int, FakeFeature] | None = None,
    *,
    faulty: Mapping[str, Fault] | None = None,
    broken: Iterable[str] = ("flower",),
    noise: float = 0.1,
) -> FakeWorld:
    """Generator, scorer, 1,000 probe and 1,000 control images that share one store (about half a second).

    The probe and control images show ``broken`` words too: only the generator cannot draw them.
    """
    store = MemoryImageStore() if store is None else store
    planted = dict(FAKE_FEATURES if features is None else features)
    scorer = FakeScorer(store, "fake", planted)
    painter = FakeGenerator(store)
    return FakeWorld(
        store=store,
        draw=FakeGenerator(store, faulty=faulty, broken=broken),
        score=scorer,
        exemplars=FakeExemplars(fake_probe(painter, count=1000, seed=1), scorer, noise=noise),
        control=FakeControl(fake_probe(painter, count=1000, seed=2)),
        features=planted,
    )
