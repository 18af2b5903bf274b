"""What agent tests share: a toolbox over the fake world, everything in memory, every draw counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

from agent.events import Event
from agent.lexical import LexicalProposer
from agent.lexicon import lexicon_for
from agent.proposer import Proposer
from agent.request import Request, RunSettings
from agent.toolbox import Toolbox
from sae.feature import Feature
from tools.bank import BankRow, PromptFiring, PromptResponse
from tools.cosy import score_explanation
from tools.fake_features import FAKE_FEATURES, FakeFeature
from tools.fakes import FakeWitness, FakeWorld, fake_world
from tools.protocols import DrawImages, DrawnImage, DrawRequest, GeneratorCard, ScoreImages, SparseCode
from tools.sealed import SealedInMemory

NOISE, RED_BOAT = 13, 14
FEATURES: dict[int, FakeFeature] = {
    **FAKE_FEATURES,
    NOISE: FakeFeature(kind="dense", rate=0.1),
    RED_BOAT: FakeFeature(kind="and", words=("red", "boat"), rate=0.9),
}
"""The planted features and two more: one that fires anywhere by chance, another conjunction."""


@cache
def world() -> FakeWorld:
    """One fake world for all tests; nothing in it changes but the log of its generator."""
    return fake_world(features=FEATURES)


class Remembering:
    """A generator that draws each request once and counts how often each was really drawn."""

    def __init__(self, draw: DrawImages) -> None:
        self._draw, self._drawn = draw, dict[DrawRequest, DrawnImage]()
        self.counts: Counter[DrawRequest] = Counter()

    @property
    def card(self) -> GeneratorCard:
        return self._draw.card

    @property
    def fingerprint(self) -> str:
        return self._draw.fingerprint

    def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
        """Draw what was never drawn."""
        missing = [request for request in dict.fromkeys(requests) if request not in self._drawn]
        self._drawn |= dict(zip(missing, self._draw(missing), strict=True))
        self.counts.update(missing)
        return [self._drawn[request] for request in requests]


class Memo:
    """A scorer that scores each image once."""

    def __init__(self, score: ScoreImages) -> None:
        self._score, self._codes = score, dict[str, SparseCode]()
        self.dictionary, self.fingerprint = score.dictionary, score.fingerprint

    def __call__(self, images: Sequence[str]) -> list[SparseCode]:
        """Score what was never scored."""
        missing = [image for image in dict.fromkeys(images) if image not in self._codes]
        self._codes |= dict(zip(missing, self._score(missing), strict=True))
        return [self._codes[image] for image in images]


@cache
def memo() -> Memo:
    """The world's scorer, remembered over all tests."""
    return Memo(world().score)


class MemoryBank:
    """A bank in a list."""

    def __init__(self) -> None:
        self.rows: dict[str, BankRow] = {}

    def add(self, rows: Iterable[BankRow]) -> int:
        """Bank images; how many were new."""
        before = len(self.rows)
        self.rows |= {row.image: row for row in rows}
        return len(self.rows) - before

    def row(self, image: str) -> BankRow | None:
        """What is banked of an image."""
        return self.rows.get(image)

    def prompts_that_fire(self, index: int, *, top: int) -> list[PromptFiring]:
        """The prompts of highest mean activation."""
        groups: dict[str, list[float]] = {}
        for row in self.rows.values():
            groups.setdefault(row.prompt, []).append(row.code.activation(index))
        firing = [
            PromptFiring(prompt, sum(found) / len(found), len(found))
            for prompt, found in groups.items()
            if any(found)
        ]
        return sorted(firing, key=lambda each: (-each.activation, each.prompt))[:top]

    def responses(self, index: int, *, top: int = 400, quiet: int = 400) -> list[PromptResponse]:
        """The prompts of highest mean activation, then those most drawn on which the feature is always 0."""
        groups: dict[str, list[float]] = {}
        for row in self.rows.values():
            groups.setdefault(row.prompt, []).append(row.code.activation(index))
        found = [
            PromptResponse(prompt, len(all_), tuple(sorted((each for each in all_ if each), reverse=True)))
            for prompt, all_ in groups.items()
        ]
        loud = sorted(
            (each for each in found if each.activations), key=lambda each: (-each.mean, each.prompt)
        )
        silent = sorted(set(found) - set(loud), key=lambda each: (-each.n, each.prompt))
        return loud[:top] + silent[:quiet]


class Clock:
    """Seconds that pass by one at each look."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        """Look at it."""
        self.now += 1.0
        return self.now


class Workshop:
    """A toolbox and everything that a test wants to look at afterwards."""

    def __init__(self, proposer: Proposer | None = None, *, draw: DrawImages | None = None) -> None:
        fake = world()
        self.draw = Remembering(draw or fake.draw)
        self.bank, self.sealed, self.events = MemoryBank(), SealedInMemory(), list[Event]()
        self.toolbox = Toolbox(
            draw=self.draw,
            score=memo(),
            exemplars=fake.exemplars,
            control=fake.control,
            cosy=score_explanation,
            bank=self.bank,
            sealed=self.sealed,
            proposer=proposer or LexicalProposer(lexicon_for(fake.draw.card)),
            clock=Clock(),
            emit=self.events.append,
            drawn=lambda: sum(self.draw.counts.values()),
            witness=FakeWitness(fake.store),
        )

    def told(self, kind: str) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if event.what.kind == kind]


def request_for(index: int, settings: RunSettings | None = None) -> Request:
    """A lexical request for one planted feature."""
    return Request(
        feature=Feature(dictionary="fake", index=index),
        models="fake",
        proposer="lexical",
        settings=settings or RunSettings(),
    )
