"""What any method must beat, and what none can: random, shuffled and constant names, and the true one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from pydantic import Field

from evals.answer import Answer
from evals.per_owner import PerOwner
from evals.plain_condition import PlainCondition
from evals.ranks import aurocs, midranks
from evals.subject import Case, LabelledImages, Subject
from evals.wordlist import names_of
from sae.feature import Feature

AGENT = "agent"


class RandomName(PlainCondition):
    """A name drawn by the suite's seed and the feature, from some that were drawn from the whole list.

    Some, so that the same name is judged on several features and drawn once.
    """

    pool: int = Field(default=100, ge=1)
    """How many; the same for all features of an evaluation."""

    @property
    def title(self) -> str:
        """What reports call it."""
        return "random name"

    def answer(self, case: Case) -> Answer:
        """Any name."""
        names = names_of(case.subject.lexicon)
        pool = random.Random(f"random names/{case.seed}").sample(names, min(self.pool, len(names)))
        return Answer(name=random.Random(f"random name/{case.seed}/{case.feature}").choice(pool))


class Shuffled(PlainCondition):
    """The agent's names, each given to another feature; where it gave none, neither does this.

    What the names score here they score for being names that the agent gives, not for being right.
    """

    @property
    def title(self) -> str:
        """What reports call it."""
        return "shuffled names"

    @property
    def needs(self) -> tuple[str, ...]:
        """The agent's answers."""
        return (AGENT,)

    def answer(self, case: Case) -> Answer:
        """The agent's answer about another feature, without its cost."""
        told: Mapping[Feature, Answer] = {
            feature: answer
            for feature in case.features
            if isinstance(answer := case.others[AGENT].get(feature), Answer)
        }
        own = told.get(case.feature)
        if own is None or own.name is None:
            return Answer(
                name=None, verdict=own.verdict if own else None, code=own.code if own else "no_answer"
            )
        names = {feature: answer.name for feature, answer in told.items() if answer.name is not None}
        if len(names) < 2:
            return Answer(name=None, code="nothing_to_shuffle")
        donor = told[swapped(names, seed=case.seed)[case.feature]]
        return Answer(name=donor.name, verdict=donor.verdict, confidence=donor.confidence)


class Constant(PlainCondition):
    """One name for all: the one with the highest mean AUROC over the suite's features of the dictionary.

    AUROC is of activation against 'the image shows the name' on the labelled probe set, over the list of
    names. Without labels it is the commonest true concept.
    """

    @property
    def title(self) -> str:
        """What reports call it."""
        return "constant name"

    def lacks(self, subject: Subject) -> str | None:
        """Anything that tells which name is best."""
        return "labels or truth" if subject.probe is None and not subject.truth else None

    def answer(self, case: Case) -> Answer:
        """The same for every feature."""
        subject = case.subject
        indices = tuple(feature.index for feature in case.features)
        name = _constants.get(subject, indices, lambda: best_for_all(subject, indices))
        return Answer(name=name, code=None if name is not None else "no_truth")


class TrueName(PlainCondition):
    """The true concept: what a method that makes no mistake would score."""

    @property
    def title(self) -> str:
        """What reports call it."""
        return "true name"

    def lacks(self, subject: Subject) -> str | None:
        """Truth, where nothing is known."""
        return None if subject.truth else "truth"

    def answer(self, case: Case) -> Answer:
        """The concept; unexplained where there is none."""
        if case.truth is None or not case.truth.concept:
            return Answer(name=None, verdict="unexplained")
        return Answer(name=case.truth.concept)


_constants: PerOwner[str | None] = PerOwner()


def swapped(names: Mapping[Feature, str], *, seed: int) -> dict[Feature, Feature]:
    """Who gets whose name: a seeded permutation in which nobody keeps its own where that is possible.

    Features stand in a ring, those of one name together; each takes the name of the one as many places
    further as the commonest name has bearers. ValueError below two features.
    """
    if len(names) < 2:
        raise ValueError(f"{len(names)} names cannot be swapped; give at least 2.")
    chance = random.Random(f"shuffled/{seed}")
    ring = sorted(names, key=lambda feature: (feature.dictionary, feature.index))
    chance.shuffle(ring)
    place = {name: at for at, name in enumerate(dict.fromkeys(names[each].casefold() for each in ring))}
    ring.sort(key=lambda each: place[names[each].casefold()])
    largest = max(len([*group]) for _, group in groupby(ring, key=lambda each: names[each].casefold()))
    # Where all bear one name there is no other: then at least nobody gets its own back.
    step = largest if largest < len(ring) else 1
    return {feature: ring[(at + step) % len(ring)] for at, feature in enumerate(ring)}


def best_for_all(subject: Subject, indices: Sequence[int]) -> str | None:
    """The name that fits the features best on average; None where nothing tells."""
    if subject.probe is not None:
        return _best_on(subject.probe, indices, names_of(subject.lexicon))
    known = [subject.truth[index].concept for index in indices if index in subject.truth]
    counts = Counter(concept for concept in known if concept)
    return min(counts, key=lambda concept: (-counts[concept], concept), default=None)


def _best_on(probe: LabelledImages, indices: Sequence[int], names: Sequence[str]) -> str | None:
    ranks = np.mean([midranks(probe.activations(index)) for index in indices], axis=0)
    best: str | None = None
    highest = -np.inf
    for name in names:
        holds = probe.holds(name)
        if holds is None or holds.all() or not holds.any():
            continue
        # AUROC is linear in the ranks, so that of the mean rank is the mean AUROC.
        shown = np.array([holds.sum()], np.float64)
        area = float(aurocs(ranks[holds].sum(keepdims=True), shown, n=len(ranks))[0])
        if area > highest:
            best, highest = name, area
    return best
