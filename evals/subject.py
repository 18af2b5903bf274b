"""What is named: one dictionary with its models and what is known of it, as whoever wires it hands it over.

``evals`` never imports ``namesae``; the implementations of these protocols lie there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from agent.lexicon import Lexicon
from agent.proposer import Proposer
from agent.toolbox import Toolbox
from sae.feature import Feature, Frozen
from tools.protocols import Floats, KnowsControl

if TYPE_CHECKING:
    from agent.runs import Desk

Bools = npt.NDArray[np.bool_]


class Truth(Frozen):
    """What a feature really stands for."""

    concept: str
    """'' where nothing coherent: then abstaining is right and any name is wrong."""
    kind: str
    """object, family, colour, ..., and, or, not, dead, dense, incoherent, undrawable, class, ..."""
    f1: float | None = None
    """Of the concept as what the feature detects, where labels exist."""


class LabelledImages(Protocol):
    """Images whose labels are known, and what every feature does on them."""

    @property
    def words(self) -> tuple[str, ...]:
        """The base concepts, one label each, in their canonical words."""
        ...

    def holds(self, name: str) -> Bools | None:
        """(n,) whether each image shows what a name says, synonyms included; None where it cannot be read."""
        ...

    def activations(self, index: int) -> Floats:
        """(n,) activations of a feature, pooled over tokens."""
        ...


class JointSpace(Protocol):
    """An image-text model beside a dictionary: its own backbone where that reads texts, else its tagger."""

    @property
    def holds_decoder(self) -> bool:
        """Whether the dictionary's decoder directions lie in this space."""
        ...

    def texts(self, texts: Sequence[str]) -> Floats:
        """(len(texts), d) unit rows."""
        ...

    def similarity(self, texts: Sequence[str]) -> Floats:
        """(n, len(texts)) cosines with the probe images, rows in the order of ``Subject.probe``."""
        ...


class Captioner(Protocol):
    """Says what a picture shows."""

    def __call__(self, images: Sequence[str]) -> list[str]:
        """One caption per image id, in order."""
        ...


class Chat(Protocol):
    """An LLM: messages and the reply's JSON schema in, text and usage out (agent/llm.py implements it)."""

    def ask(self, messages: Sequence[Any], schema: dict[str, Any]) -> Any: ...


class Subject(Protocol):
    """One dictionary under test. What it draws and scores is ledgered: asked for twice, done once."""

    @property
    def dictionary(self) -> str: ...
    @property
    def n_features(self) -> int: ...
    @property
    def fingerprint(self) -> str:
        """Of generator, scorer, probe set and both control sets."""
        ...

    @property
    def lexicon(self) -> Lexicon:
        """The generator's own words: what is judged, drawn and compared by, and what can be drawn at all."""
        ...

    @property
    def search_lexicon(self) -> Lexicon:
        """What loops and the lexical proposer search over: these words, or more."""
        ...

    @property
    def proposer(self) -> Proposer: ...
    @property
    def chat(self) -> Chat | None:
        """The LLM behind the proposer; None where it is lexical."""
        ...

    @property
    def desk(self) -> Desk:
        """Where agent runs are kept."""
        ...

    @property
    def truth(self) -> Mapping[int, Truth]:
        """By feature, as far as it is known."""
        ...

    @property
    def judge_control(self) -> KnowsControl:
        """Control images no search ever saw."""
        ...

    @property
    def probe(self) -> LabelledImages | None:
        """The probe set with its labels, where it has any: what methods that need labels may use."""
        ...

    @property
    def held_out(self) -> LabelledImages | None:
        """Labelled images no method may use: what names are graded on."""
        ...

    @property
    def joint(self) -> JointSpace | None: ...
    @property
    def captioner(self) -> Captioner | None: ...
    @property
    def twin(self) -> Subject | None:
        """The same dictionary untrained: random weights on the same backbone."""
        ...

    def probe_activations(self, index: int) -> Floats:
        """(n,) activations of a feature on the probe images."""
        ...

    def decoder(self) -> Floats:
        """(F, d) decoder directions."""
        ...

    def toolbox(self, run: str) -> Toolbox:
        """The tools of one run. ``draw`` and ``score`` are ledgered."""
        ...


class Workshop(Protocol):
    """Finds dictionaries and features; builds the planted, class-unit and untrained ones when first asked."""

    def subject(self, dictionary: str) -> Subject:
        """UsageError where there is no such dictionary."""
        ...

    def choose(self, selection: str, *, sample: int | None, seed: int) -> tuple[Feature, ...]:
        """The features of a selection such as ``sandbox#truth>=0.8``; UsageError where it is none."""
        ...

    def picture(self, image: str) -> bytes:
        """An image as PNG bytes; KeyError names a missing one."""
        ...


class Case(NamedTuple):
    """One feature to be named by one condition."""

    feature: Feature
    subject: Subject
    toolbox: Toolbox
    """Its draws are charged to the condition. The bank is empty and forgets."""
    truth: Truth | None
    seed: int
    """The suite's."""
    images: int
    """The search budget of the conditions that take one."""
    sealed: int
    """Images a name is judged on."""
    usd: float | None
    """What an LLM may cost a feature and condition; None: no limit."""
    features: tuple[Feature, ...]
    """All features of the suite in this dictionary."""
    others: Mapping[str, Mapping[Feature, Any]]
    """Answers of the conditions this one ``needs``, by condition and feature."""
    say: Callable[[str], None]
