"""Witnesses: what pictures show, seen by a model that is neither the explained backbone nor its dictionary.

Importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from sae.feature import Frozen
from sae.intervals import auroc_interval
from sae.metrics import auroc
from sae.statistics import unit_rows
from tools.cards import FUNCTION_WORDS, words_of
from tools.errors import UsageError
from tools.protocols import Floats, Interval

SHOWS_NOTHING = FUNCTION_WORDS | {"thing", "things", "picture", "photo", "image", "drawing", "scene"}
"""Words that a text may hold and no caption has to."""

Captions = Callable[[Sequence[str]], list[str]]
"""One caption per image id, in order."""
Embeds = Callable[[Sequence[str]], Floats]
"""(n, d) embeddings of n image ids, or of n texts."""


class KnowsWords(Protocol):
    """What a witness asks of a lexicon (agent/lexicon.py has one)."""

    def read(self, text: str) -> tuple[str, ...]:
        """The known words of a text in canonical form."""
        ...

    def is_kind_of(self, word: str, wider: str) -> bool:
        """Whether all that ``word`` names is also named by ``wider``."""
        ...


class Presence(Frozen):
    """How much more some pictures show a text than the control set does."""

    auroc: float
    """P(a picture shows it more than a control picture does), ties 1/2."""
    ci: Interval
    n: int
    """Pictures, the control set excluded."""


def shows(drawn: Floats, control: Floats) -> Presence:
    """The presence of a text in (n,) pictures against that in (n0,) control pictures; ValueError on none."""
    low, high = auroc_interval(drawn, control)
    return Presence(auroc=auroc(drawn, control), ci=Interval(low=low, high=high), n=len(drawn))


class CaptionWitness:
    """Reads captions; implements Witness. A text is present (1.0) where the caption says all its words.

    Synonyms count, and a wider word where the caption says a narrower one. A word that the lexicon lacks
    must stand in the caption as it is; a text without a word that shows anything is present nowhere.
    """

    def __init__(self, captions: Captions, words: KnowsWords, *, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self._captions, self._words = captions, words
        self._read: dict[str, _Said] = {}

    def __call__(self, images: Sequence[str], texts: Sequence[str]) -> Floats:
        """(n, len(texts)) of 0 and 1; KeyError names a missing image."""
        captions = self._captions(images)
        self._read |= {each: _Said(each, self._words) for each in set(captions).difference(self._read)}
        said = [self._read[caption] for caption in captions]
        wanted = [_wanted(text, self._words) for text in texts]
        rows = [[float(bool(words) and all(map(each.has, words))) for words in wanted] for each in said]
        return np.array(rows, dtype=np.float32).reshape(len(images), len(texts))


class _Said:
    """A caption, read."""

    def __init__(self, caption: str, words: KnowsWords) -> None:
        self._words, self._known = words, words.read(caption)
        self._told = dict.fromkeys(words_of(caption), True)

    def has(self, word: str) -> bool:
        if word not in self._told:
            self._told[word] = any(self._words.is_kind_of(known, word) for known in self._known)
        return self._told[word]


def _wanted(text: str, words: KnowsWords) -> tuple[str, ...]:
    """The canonical words of a text, and those that the lexicon lacks."""
    known = words.read(text)
    # 'bears' of 'polar bears' is no word of its own.
    parts = tuple(part for phrase in known for part in phrase.split())
    rest = (word for word in words_of(text) if word not in SHOWS_NOTHING and not words.read(word))
    return tuple(dict.fromkeys([*known, *(word for word in rest if not word.startswith(parts))]))


class EmbeddingWitness:
    """Compares embeddings of an image-text model; implements Witness. Presence is the cosine."""

    def __init__(self, images: Embeds, texts: Embeds, *, fingerprint: str, template: str = "{}") -> None:
        """``template``: what a text is put into before the model reads it."""
        self.fingerprint = fingerprint
        self._images, self._texts, self._template = images, texts, template
        self._known: dict[str, Floats] = {}

    def __call__(self, images: Sequence[str], texts: Sequence[str]) -> Floats:
        """(n, len(texts)) cosines; KeyError names a missing image."""
        if not images or not texts:
            return np.zeros((len(images), len(texts)), dtype=np.float32)
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            rows = unit_rows(self._texts([self._template.replace("{}", text) for text in new]))
            self._known |= dict(zip(new, rows, strict=True))
        told = np.stack([self._known[text] for text in texts])
        cosines: Floats = (unit_rows(self._images(images)) @ told.T).astype(np.float32)
        return cosines


def refuse_explained(model: str, explained: str, *, given: str) -> None:
    """UsageError where a witness, by the content of its model, is the explained backbone itself."""
    if model == explained:
        raise UsageError(
            f"Witness {given!r} is the backbone that is explained; give another image-text model or a "
            "captioner, as setting witness (NAMESAE_WITNESS)."
        )
