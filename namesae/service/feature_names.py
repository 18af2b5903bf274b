"""Names compared as people search for them: case, accents and punctuation aside."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
EQUAL, BEGINS, WORD, BEGINS_WORD, WITHIN = 1.0, 0.8, 0.6, 0.5, 0.4
_INDEX = re.compile(r"#?([0-9]{1,7})")
_PLAIN = re.compile(r"[^a-z0-9]+")
_ANY = re.compile(r"[\W_]+")
_BLANK, _END = ord(" "), ord("\n")


class Matches(NamedTuple):
    """Names found, an entry a feature, by index."""

    indices: Indices
    scores: Scores


class _Hits(NamedTuple):
    """Where a text stands in names, an entry each time."""

    names: Indices
    """By feature, ascending."""
    scores: Scores


def fold(text: str) -> str:
    """Words in lower case, without accents or punctuation, a blank between them."""
    if text.isascii():
        return _PLAIN.sub(" ", text.lower()).strip()
    apart = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return _ANY.sub(" ", bare).strip()


def index_in(text: str) -> int | None:
    """The feature that ``17`` or ``#17`` means; None where the text is no index."""
    found = _INDEX.fullmatch(text.strip())
    return int(found[1]) if found else None


class NameIndex:
    """The folded names of features, laid end to end so that all are looked through at once."""

    def __init__(self, folded: Sequence[str]) -> None:
        """``folded``: by feature, empty where there is no name."""
        # A blank on either side of a name: every word of it stands between blanks.
        text = "".join(f"\n {name} " for name in folded) + "\n"
        self._folded = folded
        self._bytes = np.frombuffer(text.encode(), np.uint8)
        self._ends = np.flatnonzero(self._bytes == _END)

    def match(self, text: str) -> Matches:
        """The names that hold every word of a text, each with how well it matches."""
        wanted = fold(text)
        words = wanted.split()
        if not words:
            return self._matches(np.zeros(len(self._folded)))
        scores = self._best(self._hits(wanted))
        if len(words) > 1:
            each = [self._best(self._hits(word)) for word in words]
            # In another order, or apart: as good as the least of the words, and no better than a word.
            scores = np.maximum(scores, np.minimum.reduce([np.minimum(one, WORD) for one in each]))
        return self._matches(scores)

    def sharing_words(self, index: int) -> Matches:
        """Other names by the words they share with one: the share of its words, rare ones weighing more,
        times the share of words that the two have in common (Dice)."""
        own = dict.fromkeys(self._folded[index].split())
        total = max(1, sum(map(bool, self._folded)))
        weights, shared = np.zeros(len(self._folded)), np.zeros(len(self._folded))
        for word in own:
            hits = self._hits(word)
            holds = np.zeros(len(self._folded), np.bool_)
            holds[hits.names[hits.scores >= WORD]] = True
            weights[holds] += np.log(1 + total / holds.sum())
            shared += holds
        if not own:
            return self._matches(shared)
        scores = weights / weights[index] * 2 * shared / (len(own) + self._words())
        scores[index] = 0
        return self._matches(scores)

    def _words(self) -> Scores:
        """Words of each name."""
        blanks = np.add.reduceat(self._bytes == _BLANK, self._ends[:-1], dtype=np.int64)
        words: Scores = np.maximum(blanks - 1, 1).astype(np.float64)
        return words

    def _hits(self, text: str) -> _Hits:
        at = self._positions(np.frombuffer(text.encode(), np.uint8))
        after = at + len(text.encode())
        begins_word, ends_word = self._bytes[at - 1] == _BLANK, self._bytes[after] == _BLANK
        begins = begins_word & (self._bytes[at - 2] == _END)
        ends = ends_word & (self._bytes[np.minimum(after + 1, len(self._bytes) - 1)] == _END)
        scores = np.full(len(at), WITHIN)
        # From the least to the best: where several are true, the last one stays.
        for which, score in (
            (begins_word, BEGINS_WORD),
            (begins_word & ends_word, WORD),
            (begins, BEGINS),
            (begins & ends, EQUAL),
        ):
            scores[which] = score
        bounds = np.searchsorted(at, self._ends)
        return _Hits(np.repeat(np.arange(len(self._folded)), np.diff(bounds)), scores)

    def _positions(self, wanted: npt.NDArray[np.uint8]) -> Indices:
        """Every byte at which a text begins."""
        last = len(self._bytes) - len(wanted) + 1
        at = np.flatnonzero(self._bytes[: max(0, last)] == wanted[0])
        for offset in range(1, len(wanted)):
            at = at[self._bytes[at + offset] == wanted[offset]]
        return at

    def _best(self, hits: _Hits) -> Scores:
        """(F,) the best of the hits in each name; 0 without one."""
        scores = np.zeros(len(self._folded))
        np.maximum.at(scores, hits.names, hits.scores)
        return scores

    @staticmethod
    def _matches(scores: Scores) -> Matches:
        found = np.flatnonzero(scores)
        return Matches(found, scores[found])
