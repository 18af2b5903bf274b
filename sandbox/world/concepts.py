"""What a name says, and of which scenes it is true: the parser of the caption grammar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sandbox.world.captions import all_words
from sandbox.world.scene import Scene, labels
from sandbox.world.vocabulary import ATTRIBUTES, FAMILIES, MEANINGS, NEGATIONS, Value

VALUES: tuple[Value, ...] = tuple(
    [Value(name, value) for name, values in ATTRIBUTES.items() for value in values]
    + [Value("family", family) for family in FAMILIES]
)
"""Every value, in the column order of a label matrix."""
COLUMN: dict[Value, int] = {value: column for column, value in enumerate(VALUES)}

Bools = npt.NDArray[np.bool_]


class Concept(NamedTuple):
    """A conjunction of values and of negated values."""

    present: frozenset[Value]
    absent: frozenset[Value] = frozenset()

    def __str__(self) -> str:
        said = [value.value for value in sorted(self.present)]
        return " ".join(said + [f"not {value.value}" for value in sorted(self.absent)])

    def holds(self, matrix: Bools) -> Bools:
        """(n,) truth for the rows of a label matrix (n, len(VALUES))."""
        true = np.ones(len(matrix), dtype=np.bool_)
        for value in self.present:
            true &= matrix[:, COLUMN[value]]
        for value in self.absent:
            true &= ~matrix[:, COLUMN[value]]
        return true


def label_matrix(scenes: Sequence[Scene]) -> Bools:
    """(n, len(VALUES)) truth of every value on every scene."""
    matrix = np.zeros((len(scenes), len(VALUES)), dtype=np.bool_)
    for row, scene in enumerate(scenes):
        for name, value in labels(scene).items():
            matrix[row, COLUMN[Value(name, value)]] = True
    return matrix


def words_of(text: str) -> list[str]:
    """Lower-case words of a text; hyphens stay inside words."""
    return re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower())


def parse(name: str) -> tuple[Concept, ...]:
    """The alternatives a name allows (one unless it says 'or'); ValueError names a word nobody knows."""
    return tuple(_conjunction(part) for part in re.split(r"\bor\b", name.lower()))


def _conjunction(text: str) -> Concept:
    present: set[Value] = set()
    absent: set[Value] = set()
    negated = False
    for word in words_of(text):
        if word in NEGATIONS:
            negated = True
        elif word in MEANINGS:
            (absent if negated else present).add(MEANINGS[word])
            negated = False
        elif word not in _FUNCTION:
            raise ValueError(
                f"Word {word!r} is not in the world's vocabulary; see sandbox.world.captions.all_words()."
            )
    if not present | absent:
        raise ValueError(
            f"Name {text!r} says nothing about a scene; use at least one word of the vocabulary."
        )
    return Concept(frozenset(present), frozenset(absent))


_FUNCTION = frozenset(all_words()) - set(MEANINGS)


def truth(name: str, matrix: Bools) -> Bools:
    """(n,) truth of a name on the rows of a label matrix; 'or' joins alternatives."""
    found: Bools = np.any([concept.holds(matrix) for concept in parse(name)], axis=0)
    return found
