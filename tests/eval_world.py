"""What evaluation tests share: a dictionary under test over the fake world, its labels and its cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from agent.lexical import LexicalProposer
from agent.lexicon import WordBook, lexicon_for
from agent.proposer import Proposer
from agent.runs import Desk
from agent.toolbox import Toolbox
from evals.subject import Bools, Captioner, Case, Chat, JointSpace, LabelledImages, Subject, Truth
from sae.feature import Feature
from tests.naming_world import FEATURES, Workshop, memo, world
from tools.cards import FUNCTION_WORDS, words_of
from tools.fake_features import FakeFeature
from tools.fake_images import FAKE_VOCABULARY, FakeGenerator, FakeProbe, fake_probe, read_picture, word_code
from tools.fakes import FakeControl
from tools.protocols import Floats, KnowsControl, StoresImages

N_FEATURES = max(FEATURES) + 1
COLUMN = {word: at for at, word in enumerate(FAKE_VOCABULARY)}


@cache
def probe_set() -> FakeProbe:
    """The 1,000 labelled images that the exemplars of the world are made of."""
    return fake_probe(FakeGenerator(world().store), count=1000, seed=1)


@cache
def held_out_set() -> FakeProbe:
    """600 labelled images nobody else uses."""
    return fake_probe(FakeGenerator(world().store), count=600, seed=3)


def shows_of(probe: FakeProbe) -> Bools:
    """(n, len(FAKE_VOCABULARY)) whether an image shows a word."""
    return np.array([[word in shown for word in FAKE_VOCABULARY] for shown in probe.shown])


def activations_of(probe: FakeProbe) -> Floats:
    """(n, N_FEATURES) activations of the planted features."""
    dense = np.zeros((len(probe.images), N_FEATURES), np.float32)
    for row, code in enumerate(memo()(probe.images)):
        dense[row, code.indices] = code.values
    return dense


@dataclass
class WordLabels:
    """Labelled images, from whatever labels and activations a test gives; implements LabelledImages."""

    shows: Bools
    """(n, len(words))"""
    active: Floats
    """(n, F)"""
    words: tuple[str, ...] = FAKE_VOCABULARY

    def holds(self, name: str) -> Bools | None:
        """Words joined by 'or', 'not' or nothing; None where one is unknown or there is none."""
        alternatives = [self._conjunction(part) for part in name.casefold().split(" or ")]
        known = [each for each in alternatives if each is not None]
        return np.any(known, axis=0) if len(known) == len(alternatives) else None

    def activations(self, index: int) -> Floats:
        """A column."""
        return self.active[:, index]

    def _conjunction(self, text: str) -> Bools | None:
        said = [word for word in words_of(text) if word not in FUNCTION_WORDS]
        if not set(said) - {"not"} or not set(said) - {"not"} <= set(self.words):
            return None
        true = np.ones(len(self.shows), np.bool_)
        wanted = True
        for word in said:
            if word == "not":
                wanted = False
                continue
            true &= self.shows[:, self.words.index(word)] == wanted
            wanted = True
        return true


def labels_of(probe: FakeProbe) -> WordLabels:
    """The labels and planted activations of some images."""
    return WordLabels(shows=shows_of(probe), active=activations_of(probe))


class WordSpace:
    """A joint space with a dimension a word: texts and images are the words they hold; noise is seeded."""

    def __init__(self, shows: Bools, *, holds_decoder: bool = False, noise: float = 0.0) -> None:
        noisy = shows + noise * np.random.default_rng(5).standard_normal(shows.shape)
        self._images = _unit(noisy)
        self.holds_decoder = holds_decoder
        self.asked: list[tuple[str, ...]] = []
        """The texts of every call, so that a test sees what was embedded and how often."""

    def texts(self, texts: Sequence[str]) -> Floats:
        """Unit rows; words it does not know weigh nothing."""
        self.asked.append(tuple(texts))
        rows = np.zeros((len(texts), len(FAKE_VOCABULARY)), np.float32)
        for row, text in enumerate(texts):
            rows[row, [COLUMN[word] for word in words_of(text) if word in COLUMN]] = 1
        return _unit(rows)

    def similarity(self, texts: Sequence[str]) -> Floats:
        """(n, len(texts)) cosines."""
        return self._images @ self.texts(texts).T


def _unit(rows: Any) -> Floats:
    exact: Floats = np.asarray(rows, np.float32)
    exact = exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), np.float32(1e-12))
    return exact


class WordCaptioner:
    """Says the words that a fake picture holds, in no useful order; implements Captioner."""

    def __init__(self, store: StoresImages) -> None:
        self._store = store
        self._words = {word_code(word): word for word in FAKE_VOCABULARY}
        self.captioned = 0

    def __call__(self, images: Sequence[str]) -> list[str]:
        """One caption per image id."""
        self.captioned += len(images)
        shown = [read_picture(self._store.get(image)).words for image in images]
        return [
            f"A picture of {', '.join(sorted(self._words[code] for code in codes if code in self._words))}."
            for codes in shown
        ]


def truth_of(planted: FakeFeature) -> Truth:
    """What a planted feature stands for; dead and dense ones for nothing."""
    concept = "" if planted.kind in ("dead", "dense") else planted.truth
    return Truth(concept=concept, kind="object" if planted.kind == "word" else planted.kind)


def decoder_of(features: Mapping[int, FakeFeature]) -> Floats:
    """(N_FEATURES, len(FAKE_VOCABULARY)) the words of each feature; negated ones point away."""
    rows = np.zeros((N_FEATURES, len(FAKE_VOCABULARY)), np.float32)
    for index, planted in features.items():
        rows[index, [COLUMN[word] for word in planted.words]] = -1 if planted.kind == "not" else 1
    return rows


def words_of_the_world() -> WordBook:
    """The lexicon of the fake generator."""
    return lexicon_for(world().draw.card)


@cache
def _judge_control() -> FakeControl:
    return FakeControl(fake_probe(FakeGenerator(world().store), count=1000, seed=4))


@dataclass(eq=False)
class FakeSubject:
    """The planted dictionary, everything known of it; a test takes away what it wants missing."""

    dictionary: str = "fake"
    n_features: int = N_FEATURES
    fingerprint: str = "fake"
    lexicon: WordBook = field(default_factory=words_of_the_world)
    search_lexicon: WordBook = field(default_factory=words_of_the_world)
    proposer: Proposer = field(default_factory=lambda: LexicalProposer(words_of_the_world()))
    chat: Chat | None = None
    truth: Mapping[int, Truth] = field(
        default_factory=lambda: {index: truth_of(planted) for index, planted in FEATURES.items()}
    )
    judge_control: KnowsControl = field(default_factory=_judge_control)
    probe: LabelledImages | None = field(default_factory=lambda: labels_of(probe_set()))
    held_out: LabelledImages | None = field(default_factory=lambda: labels_of(held_out_set()))
    joint: JointSpace | None = field(
        default_factory=lambda: WordSpace(shows_of(probe_set()), holds_decoder=True)
    )
    captioner: Captioner | None = field(default_factory=lambda: WordCaptioner(world().store))
    twin: Subject | None = None
    active: Floats = field(default_factory=lambda: activations_of(probe_set()))
    """(n, F) on the probe images."""
    kept: Desk | None = None

    @property
    def desk(self) -> Desk:
        """Where a test keeps agent runs, if it does."""
        if self.kept is None:
            raise LookupError("This test gave its subject no desk.")
        return self.kept

    def probe_activations(self, index: int) -> Floats:
        """A column."""
        return self.active[:, index]

    def decoder(self) -> Floats:
        """The words of each planted feature."""
        return decoder_of(FEATURES)

    def toolbox(self, run: str) -> Toolbox:
        """The fake world's, everything in memory."""
        return Workshop(self.proposer).toolbox


def case_of(subject: Subject, index: int, **changes: Any) -> Case:
    """A case of one feature with a budget of 40 images; ``changes`` replace fields of Case."""
    feature = Feature(dictionary=subject.dictionary, index=index)
    case = Case(
        feature=feature,
        subject=subject,
        toolbox=subject.toolbox("test"),
        truth=subject.truth.get(index),
        seed=0,
        images=40,
        sealed=20,
        usd=None,
        features=tuple(Feature(dictionary=subject.dictionary, index=each) for each in subject.truth),
        others={},
        say=lambda line: None,
    )
    return case._replace(**changes)
