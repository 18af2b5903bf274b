"""The planted dictionary ``fake``: the same wiring as for any other, on models that weigh nothing."""

from __future__ import annotations

from functools import cache

from PIL import Image

from namesae.dictionaries import FAKE
from namesae.galleries import Shelf
from namesae.models import KeptExemplars, Models
from namesae.witnesses import Called
from tools.digest import digest
from tools.fakes import (
    FAKE_FEATURES,
    FakeControl,
    FakeExemplars,
    FakeGenerator,
    FakeProbe,
    FakeScorer,
    FakeWitness,
    MemoryImageStore,
    fake_probe,
)

PICTURES = 1000
BROKEN = ("flower",)
"""Words that are known and drawn as nothing."""


class _Painted:
    """Pictures that only this process holds, readable on a shelf."""

    def __init__(self) -> None:
        self.store = MemoryImageStore()

    def __contains__(self, image: str) -> bool:
        return self.store.has(image)

    def picture(self, image: str) -> Image.Image:
        return self.store.get(image)


def open_fake_models(shelf: Shelf) -> Models:
    """Planted features, a generator that draws words, 1,000 probe and 1,000 control pictures."""
    painted = _Painted()
    shelf.show(painted)
    draw, score = FakeGenerator(shelf, broken=BROKEN), FakeScorer(shelf, FAKE, FAKE_FEATURES)

    witness = FakeWitness(shelf)

    @cache
    def probe(seed: int) -> FakeProbe:
        return fake_probe(FakeGenerator(painted.store), count=PICTURES, seed=seed)

    return Models(
        draw=draw,
        score=score,
        exemplars=cache(lambda: KeptExemplars(FakeExemplars(probe(1), score), shelf)),
        control=cache(lambda: FakeControl(probe(2))),
        judge_control=cache(lambda: FakeControl(probe(3))),
        fingerprint=digest(
            draw=draw.fingerprint,
            score=score.fingerprint,
            pictures=PICTURES,
            witness=witness.fingerprint,
        ),
        witness=Called(witness.fingerprint, lambda _: witness),
    )
