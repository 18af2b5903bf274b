"""What an image-text model reads in the probe set for one feature: the words, and the AND, OR and NOT of
words, that best tell its activations. CLIP-Dissect's question asked of formulas, as INVERT asks it of labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tools.protocols import Floats, Reading, ReadingKind

READINGS = 1
"""Version of what is worked out here: part of what a stored answer is an answer to."""
CUTS: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Shares of the p99 above which a feature may be taken to be on; each formula has its own."""
SCALE = 100.0
"""What cosines are multiplied with before words of one kind compete: the logit scale CLIP was trained to."""
LONE_MEAN, LONE_WIDTH = 2.0, 0.5
"""Standard deviations above its mean cosine at which a word without competitors counts as half shown, and
how softly."""
PAIRED = 64
"""Words whose pairs are read; all of a small vocabulary."""
KEPT: Mapping[ReadingKind, int] = {"one": 12, "and": 10, "or": 6, "not": 4}
"""Best readings kept of each kind."""
MOST_ROWS = 8000
"""Probe pictures that are read for one feature; of more, those where it is on come first."""

Numbers = npt.NDArray[np.float64]


class Vocabulary(NamedTuple):
    """Words and what is known of how they exclude and contain each other."""

    words: tuple[str, ...]
    kinds: tuple[str, ...]
    """Of which a picture shows one, e.g. 'colour', by word; '' where unknown."""
    members: tuple[tuple[str, ...], ...]
    """The words a family contains, by word; () for a word that contains none."""


def presence(cosines: Floats, vocabulary: Vocabulary) -> Floats:
    """(n, V) how far each picture shows each word, 0..1, from its (n, V) cosines with the words.

    Words of one kind compete (softmax of ``SCALE`` times the cosine); a family is shown as far as its members
    are together; a word without competitors by how far its cosine stands out.
    """
    shown = np.zeros(cosines.shape, dtype=np.float32)
    column = {word: at for at, word in enumerate(vocabulary.words)}
    rivals: dict[str, list[int]] = {}
    for at, kind in enumerate(vocabulary.kinds):
        if not vocabulary.members[at]:
            rivals.setdefault(kind or vocabulary.words[at], []).append(at)
    for columns in rivals.values():
        mine = cosines[:, columns].astype(np.float64)
        shown[:, columns] = _competing(mine) if len(columns) > 1 else _lone(mine)
    for at, members in enumerate(vocabulary.members):
        inside = [column[each] for each in members if each in column]
        if inside:
            shown[:, at] = np.minimum(1.0, shown[:, inside].sum(axis=1))
    return shown


def readings(
    activations: Floats, shown: Floats, vocabulary: Vocabulary, *, p99: float
) -> tuple[Reading, ...]:
    """The formulas of one or two words that best tell a feature, best first.

    ``activations``: (n,) of the feature; ``shown``: (n, V) of ``presence``. A formula's score is the highest
    F1, over ``CUTS``, of its (soft) truth against 'the feature is on'. A feature that is never on has none.
    """
    if p99 <= 0 or not (activations > 0).any():
        return ()
    rows, weights = _rows(activations)
    on = (activations[rows, None] > np.array(CUTS) * p99).astype(np.float64) * weights[:, None]
    counts = _Counts(on, shown[rows].astype(np.float64), weights)
    found = counts.singles(vocabulary)
    best = sorted(found, key=lambda each: -each.f1)
    columns = _paired(best, counts, vocabulary)
    found += counts.pairs(columns, vocabulary)
    kept: list[Reading] = []
    for kind, most in KEPT.items():
        mine = sorted((each for each in found if each.kind == kind), key=lambda each: -each.f1)
        kept += [each.reading(p99) for each in mine[:most]]
    return tuple(sorted(kept, key=lambda each: -each.f1))


class _Found(NamedTuple):
    kind: ReadingKind
    words: tuple[str, ...]
    f1: float
    cut: float

    def reading(self, p99: float) -> Reading:
        return Reading(kind=self.kind, words=self.words, f1=round(self.f1, 4), cut=self.cut * p99)


class _Counts:
    """Weighted counts of pictures on which a feature is on, and of those that show words."""

    def __init__(self, on: Numbers, shown: Numbers, weights: Numbers) -> None:
        """``on``: (n, cuts), each row times its weight; ``shown``: (n, V)."""
        self._on, self._shown, self._weights = on, shown, weights
        self.fires = on.sum(axis=0)
        self.said = weights @ shown
        self.both = on.T @ shown

    def singles(self, vocabulary: Vocabulary) -> list[_Found]:
        """Every word and its negation."""
        plain = self._f1(self.both, self.said)
        total = self._weights.sum()
        negated = self._f1(self.fires[:, None] - self.both, total - self.said)
        found = []
        for at, word in enumerate(vocabulary.words):
            found.append(_best("one", (word,), plain[:, at]))
            if vocabulary.kinds[at]:
                found.append(_best("not", (word,), negated[:, at]))
        return found

    def pairs(self, columns: Sequence[int], vocabulary: Vocabulary) -> list[_Found]:
        """AND and OR of words that can hold together, and that do not contain each other."""
        mine = self._shown[:, columns]
        joint = np.stack([(mine * cut[:, None]).T @ mine for cut in self._on.T])
        said = (mine * self._weights[:, None]).T @ mine
        single, alone = self.both[:, columns], self.said[columns]
        either = self._f1(
            single[:, :, None] + single[:, None, :] - joint, alone[:, None] + alone[None, :] - said
        )
        both = self._f1(joint, said)
        found = []
        for first in range(len(columns)):
            for second in range(first + 1, len(columns)):
                words = (vocabulary.words[columns[first]], vocabulary.words[columns[second]])
                if _contains(vocabulary, columns[first], columns[second]):
                    continue
                found.append(_best("or", words, either[:, first, second]))
                if vocabulary.kinds[columns[first]] != vocabulary.kinds[columns[second]]:
                    found.append(_best("and", words, both[:, first, second]))
        return found

    def lift(self) -> Numbers:
        """(V,) how much more often each word is shown where the feature is on at half its p99."""
        cut = CUTS.index(0.5)
        share = self.both[cut] / max(self.fires[cut], 1e-9)
        base = self.said / self._weights.sum()
        lift: Numbers = (share - base) / np.sqrt(np.maximum(base * (1 - base), 1e-6))
        return lift

    def _f1(self, both: Numbers, said: Numbers) -> Numbers:
        """Along the first axis the cuts; 2 TP / (positives + claimed)."""
        fires = self.fires.reshape(-1, *[1] * (both.ndim - 1))
        scores: Numbers = 2 * both / np.maximum(fires + said, 1e-9)
        return scores


def _best(kind: ReadingKind, words: tuple[str, ...], by_cut: Numbers) -> _Found:
    at = int(np.argmax(by_cut))
    return _Found(kind, words, float(by_cut[at]), CUTS[at])


def _paired(best: Sequence[_Found], counts: _Counts, vocabulary: Vocabulary) -> list[int]:
    """The words worth pairing: half by what they tell alone, half by how the feature prefers them, for the
    parts of an AND tell little alone."""
    column = {word: at for at, word in enumerate(vocabulary.words)}
    if len(column) <= PAIRED:
        return list(range(len(column)))
    alone = [column[each.words[0]] for each in best if each.kind == "one"][: PAIRED // 2]
    preferred = np.argsort(-counts.lift(), kind="stable")[:PAIRED].tolist()
    return list(dict.fromkeys([*alone, *preferred]))[:PAIRED]


def _rows(activations: Floats) -> tuple[npt.NDArray[np.intp], Numbers]:
    """Rows that are read, with how many pictures each stands for."""
    count = len(activations)
    if count <= MOST_ROWS:
        return np.arange(count), np.ones(count)
    rows: list[npt.NDArray[np.intp]] = []
    weights: list[Numbers] = []
    for part in (np.flatnonzero(activations > 0), np.flatnonzero(activations <= 0)):
        chosen = part[:: max(1, -(-len(part) // (MOST_ROWS // 2)))]
        rows.append(chosen)
        weights.append(np.full(len(chosen), len(part) / max(1, len(chosen))))
    return np.concatenate(rows), np.concatenate(weights)


def _contains(vocabulary: Vocabulary, first: int, second: int) -> bool:
    words = vocabulary.words
    return words[first] in vocabulary.members[second] or words[second] in vocabulary.members[first]


def _competing(cosines: Numbers) -> Numbers:
    logits = SCALE * (cosines - cosines.max(axis=1, keepdims=True))
    raised: Numbers = np.exp(logits)
    shares: Numbers = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _lone(cosines: Numbers) -> Numbers:
    standard = (cosines - cosines.mean(axis=0)) / np.maximum(cosines.std(axis=0), 1e-9)
    shown: Numbers = 1.0 / (1.0 + np.exp(-(standard - LONE_MEAN) / LONE_WIDTH))
    return shown
