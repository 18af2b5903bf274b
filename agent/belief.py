"""Twenty questions over words: which claim explains what drawn images did.

A claim is a word, an AND, an OR or a NOT of words. A prompt settles a word in three-valued (Kleene) logic:
shown (+1), excluded (-1) or left open (0); AND is then the minimum, OR the maximum and NOT the negation of
a row; an AND of which one word is shown and the other open is half shown. Under a claim the images of shown,
half shown, open and excluded prompts fire at four unknown rates, each with a Beta prior; integrating the
rates out gives the claim's evidence in closed form. The next prompts are those whose outcome the claims
disagree about most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agent.lexicon import Lexicon
from agent.plans import CandidateKind

Numbers = npt.NDArray[np.float64]
Logic = npt.NDArray[np.int8]

SHOWN, OPEN, EXCLUDED, HALF = 1, 0, -1, 2


class Claim(NamedTuple):
    """What a feature may fire on."""

    kind: CandidateKind
    words: tuple[str, ...]
    """Canonical words: one for 'one' and 'not', two for 'and' and 'or'."""


class Rates(NamedTuple):
    """Beta priors (a, b) of the rates at which images fire, by what the prompt says of the claim."""

    shown: tuple[float, float] = (5.0, 2.0)
    half: tuple[float, float] = (1.5, 2.5)
    """One word of an AND shown, the other left open: it fires as often as the generator happens to add it."""
    open: tuple[float, float] = (1.0, 3.0)
    excluded: tuple[float, float] = (0.4, 6.0)
    open_not: tuple[float, float] = (3.0, 1.0)
    """'open' for a NOT: most prompts leave out what it excludes."""
    anything: tuple[float, float] = (0.5, 0.5)
    """The one rate of a feature that no words explain."""


class Asked(NamedTuple):
    """One prompt that was drawn."""

    words: frozenset[str]
    images: int
    """Usable images."""
    fired: float
    """Sum of their rewards."""


@lru_cache(maxsize=200_000)
def settles(lexicon: Lexicon, shown: frozenset[str], *, word: str) -> int:
    """SHOWN, EXCLUDED or OPEN: what a prompt of some words says about one word."""
    if any(lexicon.is_kind_of(other, word) for other in shown):
        return SHOWN
    slot = lexicon.slot(word)
    rivals = [other for other in shown if slot and lexicon.slot(other) == slot]
    if rivals and not any(lexicon.is_kind_of(word, other) for other in rivals):
        return EXCLUDED
    return OPEN


class Beliefs:
    """Claims with their posterior weights after some prompts; immutable once made."""

    def __init__(
        self, lexicon: Lexicon, claims: Mapping[Claim, float], *, asked: Iterable[Asked], rates: Rates
    ) -> None:
        """``claims``: each with its log prior."""
        self.claims = tuple(claims)
        self._lexicon, self._rates = lexicon, rates
        self._words = tuple(dict.fromkeys(word for claim in self.claims for word in claim.words))
        columns = {word: column for column, word in enumerate(self._words)}
        self._first = np.array([columns[claim.words[0]] for claim in self.claims], dtype=np.intp)
        self._last = np.array([columns[claim.words[-1]] for claim in self.claims], dtype=np.intp)
        self._ors = np.array([claim.kind == "or" for claim in self.claims], dtype=bool)
        self._nots = np.array([claim.kind == "not" for claim in self.claims], dtype=bool)
        self._ands = np.array([claim.kind == "and" for claim in self.claims], dtype=bool)
        told = list(asked)
        self._images = np.array([each.images for each in told], dtype=np.float64)
        self._fired = np.array([each.fired for each in told], dtype=np.float64)
        self._bins = self._bins_of(self.logic([each.words for each in told]))
        self.log_evidence = self._log_evidence()
        log_posterior = np.array([claims[claim] for claim in self.claims]) + self.log_evidence
        self.weights = _softmax(log_posterior)
        self.log_anything = self._log_anything()

    def logic(self, prompts: Sequence[frozenset[str]]) -> Logic:
        """(prompts, claims): what each prompt says about each claim."""
        table = np.array(
            [[settles(self._lexicon, shown, word=word) for word in self._words] for shown in prompts],
            dtype=np.int8,
        ).reshape(len(prompts), len(self._words))
        first, last = table[:, self._first], table[:, self._last]
        rows: Logic = np.where(self._ors, np.maximum(first, last), np.minimum(first, last))
        rows[:, self._nots] *= -1
        rows[(first + last == SHOWN) & self._ands] = HALF
        return rows

    def ranked(self) -> list[tuple[Claim, float]]:
        """Claims with their weights, most believed first; ties keep the order in which they were given."""
        order = np.argsort(-self.weights, kind="stable")
        return [(self.claims[at], float(self.weights[at])) for at in order]

    def choose(self, prompts: Sequence[frozenset[str]], *, count: int, variety: float = 1.0) -> list[int]:
        """Rows of the ``count`` prompts to draw next: most disagreed about, each adding to those before it.

        The worth of a prompt is the mutual information between an image's firing and the claim; it is
        discounted by the squared correlation, over claims, with the prompts already chosen; by ``variety`` of
        it, so that at less than 1 prompts may confirm each other.
        """
        predicted = self._predicted(self.logic(prompts))
        worth = _entropy(predicted @ self.weights) - _entropy(predicted) @ self.weights
        centred = (predicted - (predicted @ self.weights)[:, None]) * np.sqrt(self.weights)
        unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
        chosen: list[int] = []
        worth = np.maximum(worth, 0.0)
        for _ in range(min(count, len(prompts))):
            best = int(np.argmax(worth))
            chosen.append(best)
            worth = worth * np.clip(1.0 - variety * np.square(unit @ unit[best]), 0.0, 1.0)
            worth[chosen] = -1.0
        return chosen

    def _bins_of(self, logic: Logic) -> list[tuple[Numbers, Numbers]]:
        """(images, fired) per claim, for shown, half shown, open and excluded prompts."""
        masks = [(logic == value).astype(np.float64).T for value in (SHOWN, HALF, OPEN, EXCLUDED)]
        return [(mask @ self._images, mask @ self._fired) for mask in masks]

    def _priors(self) -> list[tuple[Numbers, Numbers]]:
        rates = self._rates
        pairs = (
            (rates.shown, rates.shown),
            (rates.half, rates.half),
            (rates.open, rates.open_not),
            (rates.excluded, rates.excluded),
        )
        return [
            (np.where(self._nots, negated[0], plain[0]), np.where(self._nots, negated[1], plain[1]))
            for plain, negated in pairs
        ]

    def _log_evidence(self) -> Numbers:
        total = np.zeros(len(self.claims))
        for (images, fired), (a, b) in zip(self._bins, self._priors(), strict=True):
            total += betaln(a + fired, b + images - fired) - betaln(a, b)
        return total

    def _log_anything(self) -> float:
        a, b = self._rates.anything
        images, fired = float(self._images.sum()), float(self._fired.sum())
        return float(betaln(a + fired, b + images - fired) - betaln(a, b))

    def _predicted(self, logic: Logic) -> Numbers:
        """(prompts, claims): chance that an image of the prompt fires, under each claim."""
        means = [
            (a + fired) / (a + b + images)
            for (images, fired), (a, b) in zip(self._bins, self._priors(), strict=True)
        ]
        shown, half, left_open, excluded = means
        known = np.where(logic == SHOWN, shown, np.where(logic == HALF, half, excluded))
        chosen: Numbers = np.where(logic == OPEN, left_open, known)
        return chosen


def betaln(a: Numbers | float, b: Numbers | float) -> Numbers:
    """Logarithm of the Beta function, elementwise."""
    parts = [np.asarray(_lgamma(each), dtype=np.float64) for each in (a, b, np.add(a, b))]
    total: Numbers = parts[0] + parts[1] - parts[2]
    return total


# Importing scipy for one function would cost every first name half a second.
_lgamma = np.frompyfunc(math.lgamma, 1, 1)


@lru_cache(maxsize=200_000)
def says(lexicon: Lexicon, claim: Claim, *, prompt: frozenset[str]) -> int:
    """SHOWN, HALF, EXCLUDED or OPEN: what a prompt of some words says about one claim."""
    return int(Beliefs(lexicon, {claim: 0.0}, asked=(), rates=Rates()).logic([prompt])[0, 0])


def _softmax(logs: Numbers) -> Numbers:
    weights: Numbers = np.exp(logs - logs.max()) if len(logs) else logs
    return weights / weights.sum() if len(logs) else logs


def _entropy(chance: Numbers) -> Numbers:
    safe = np.clip(chance, 1e-9, 1 - 1e-9)
    entropy: Numbers = -(safe * np.log(safe) + (1 - safe) * np.log(1 - safe))
    return entropy
