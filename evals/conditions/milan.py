"""MILAN (arXiv 2201.11114), in words: what captions of exemplars say more than captions of other images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from agent.lexicon import Lexicon
from evals.answer import Answer, Step
from evals.per_owner import PerOwner
from evals.plain_condition import PlainCondition
from evals.subject import Captioner, Case, Subject

SHOWN = 5

Said = frozenset[str]
"""The canonical words of one caption."""


class Milan(PlainCondition):
    """The word or phrase of two words of highest log p(d|E) - ``weight`` * log p(d).

    MILAN decodes a sentence from an LSTM that sees the exemplars with the active region masked, and takes
    p(d) from a language model. Here a captioner sees whole images; d is one word or two of different kinds
    that some exemplar's caption says; p(d|E) and p(d) are the shares of the captions of the ``exemplars`` top
    images and of ``others`` random images that say it, half a caption added to either side. The random images
    are of the search's control set. The weight .2 is the published one.
    """

    exemplars: int = 15
    others: int = 200
    weight: float = 0.2

    @property
    def title(self) -> str:
        """What reports call it."""
        return "MILAN (captions)"

    def lacks(self, subject: Subject) -> str | None:
        """A captioner, where there is none."""
        return "a captioner" if subject.captioner is None else None

    def answer(self, case: Case) -> Answer:
        """The best name; unexplained where no caption says a known word."""
        subject, captioner = case.subject, case.subject.captioner
        if captioner is None:
            raise ValueError(f"Dictionary {subject.dictionary} has no captioner; see lacks().")
        top = case.toolbox.exemplars(case.feature.index, count=self.exemplars)
        if not top:
            return Answer(name=None, verdict="dead")
        lexicon = subject.lexicon
        said = _said(captioner, [each.image for each in top], lexicon)
        usual = _known.get(
            subject, (self.others, case.seed), lambda: _said(captioner, self._random(case), lexicon)
        )
        steps = [
            Step(text=lexicon.phrase(words), score=score)
            for words, score in self._ranked(said, usual, lexicon)
        ]
        if not steps:
            return Answer(name=None, verdict="unexplained")
        return Answer(name=steps[0].text, score=steps[0].score, steps=tuple(steps))

    def _random(self, case: Case) -> list[str]:
        images = case.toolbox.control.images
        count = min(self.others, len(images))
        return [
            images[at] for at in np.random.default_rng(case.seed).choice(len(images), count, replace=False)
        ]

    def _ranked(
        self, said: Sequence[Said], usual: Sequence[Said], lexicon: Lexicon
    ) -> list[tuple[tuple[str, ...], float]]:
        """The candidates of highest score; the shorter and the earlier of equal ones first."""
        told = _counted(said, lexicon)
        scores = {
            words: _log_share(count, len(said)) - self.weight * _log_share(_saying(words, usual), len(usual))
            for words, count in told.items()
        }
        order = sorted(scores, key=lambda words: (-scores[words], len(words), words))
        return [(words, scores[words]) for words in order[:SHOWN]]


_known: PerOwner[list[Said]] = PerOwner()


def _said(captioner: Captioner, images: Sequence[str], lexicon: Lexicon) -> list[Said]:
    return [frozenset(lexicon.read(caption)) for caption in captioner(images)]


def _counted(said: Iterable[Said], lexicon: Lexicon) -> Counter[tuple[str, ...]]:
    """How many captions say each word, and each two words of different known kinds."""
    counts: Counter[tuple[str, ...]] = Counter()
    for words in said:
        counts.update((word,) for word in words)
        kinds = {word: lexicon.slot(word) for word in sorted(words) if lexicon.slot(word)}
        counts.update(pair for pair in combinations(kinds, 2) if kinds[pair[0]] != kinds[pair[1]])
    return counts


def _saying(words: Iterable[str], said: Iterable[Said]) -> int:
    wanted = frozenset(words)
    return sum(wanted <= each for each in said)


def _log_share(count: int, n: int) -> float:
    return math.log((count + 0.5) / (n + 1))
