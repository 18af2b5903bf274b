"""INVERT (arXiv 2311.13594): the AND/OR/NOT of labels that a feature's activation tells best, by AUROC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agent.lexicon import Lexicon
from evals.answer import Answer, Step
from evals.per_owner import PerOwner
from evals.plain_condition import PlainCondition
from evals.ranks import Doubles, aurocs, midranks
from evals.subject import Bools, Case, LabelledImages, Subject
from tools.protocols import Floats

GAIN = 0.001
"""A longer formula must beat every shorter one by more than this."""


class Literal(NamedTuple):
    """A label, or that it is absent."""

    word: str
    negated: bool = False


Formula = tuple[tuple[Literal, ...], ...]
"""Alternatives of conjoined literals, in the order they were found."""


class Labels(NamedTuple):
    """The labels of the probe set, as literals."""

    literals: tuple[Literal, ...]
    masks: Doubles
    """(n, literals) of 0 and 1, so that products count images and add up ranks."""
    lexicon: Lexicon


class Scored(NamedTuple):
    """A formula, the images that each alternative holds on, and its AUROC."""

    formula: Formula
    masks: tuple[Bools, ...]
    auroc: float


class Growth(NamedTuple):
    """A place where a formula can take one literal more: it then holds on base | (region & literal)."""

    formula: Formula
    masks: tuple[Bools, ...]
    at: int
    """The alternative to conjoin the literal to; the number of alternatives for a new one."""
    base: Bools
    region: Bools


class Longer(NamedTuple):
    """The formulas that one literal more makes, (places, literals)."""

    aurocs: Doubles
    """nan where they are not to be considered, or hold on all images or none."""
    counts: Doubles
    """Images they hold on."""
    marks: Doubles
    """Sums of random whole numbers over those images, exact: equal where the images are the same."""

    def only(self, chosen: Bools) -> Longer:
        """Some of them."""
        return self._replace(aurocs=np.where(chosen, self.aurocs, np.nan))


class Invert(PlainCondition):
    """Beam search over formulas that a name can say: alternatives ('or') of words and 'not' words.

    Formulas hold on between ``least`` and ``most`` of the probe images and have at most ``length`` literals.
    An alternative never joins two words of one kind, which no image shows together. As published but for
    these: AUROC counts ties as one half; a second beam keeps formulas that hold on more images, which one
    literal more can narrow; formulas that hold on the same images count as one; no hypernyms are added to the
    labels. A feature that does not vary over the probe set is called dead.
    """

    length: int = 3
    beam: int = 5
    least: float = 0.005
    most: float = 0.5

    @property
    def title(self) -> str:
        """What reports call it."""
        return "INVERT"

    def lacks(self, subject: Subject) -> str | None:
        """Labels, where the probe set has none."""
        return "labels on the probe set" if subject.probe is None else None

    def answer(self, case: Case) -> Answer:
        """The shortest formula that no longer one beats by more than GAIN."""
        subject, probe = case.subject, case.subject.probe
        if probe is None:
            raise ValueError(f"Dictionary {subject.dictionary} has no labelled probe set; see lacks().")
        activation = subject.probe_activations(case.feature.index)
        if activation.min() == activation.max():
            return Answer(name=None, verdict="dead")
        found = self.search(
            activation, _known.get(subject, None, lambda: read_labels(probe, subject.lexicon))
        )
        if not found:
            return Answer(name=None, verdict="unexplained")
        steps = tuple(Step(text=say(each.formula, subject.lexicon), score=each.auroc) for each in found)
        return Answer(name=steps[-1].text, score=steps[-1].score, steps=steps)

    def search(self, activation: Floats, labels: Labels) -> list[Scored]:
        """The best formula of every length that beats all shorter ones, shortest first."""
        ranks, n = midranks(activation), len(activation)
        everywhere = np.ones(n, np.bool_)
        grown = [Growth(formula=(), masks=(), at=0, base=~everywhere, region=everywhere)]
        marks = np.random.default_rng(0).integers(2**53 // n, size=n).astype(np.float64)
        seen: set[float] = set()
        best: list[Scored] = []
        for _ in range(self.length):
            every = _longer(grown, labels, ranks=ranks, marks=marks)
            fits = (every.counts >= self.least * n) & (every.counts <= self.most * n)
            fitting = self._best(grown, labels, of=every.only(fits), seen=seen)
            if fitting and (not best or fitting[0].auroc > best[-1].auroc + GAIN):
                best.append(fitting[0])
            wide = every.only(every.counts > self.most * n)
            beam = fitting + self._best(grown, labels, of=wide, seen=seen)
            grown = [growth for each in beam for growth in _growths(each)]
            if not grown:
                break
        return best

    def _best(self, grown: Sequence[Growth], labels: Labels, *, of: Longer, seen: set[float]) -> list[Scored]:
        """The ``beam`` best formulas one literal longer; what they hold on is added to ``seen``."""
        beam: list[Scored] = []
        # nan, what is not to be considered, sorts last.
        for flat in np.argsort(-of.aurocs, axis=None, kind="stable"):
            where, which = divmod(int(flat), len(labels.literals))
            if len(beam) == self.beam or np.isnan(of.aurocs[where, which]):
                break
            formula = _with(grown[where], labels.literals[which], labels.lexicon)
            if formula is not None and of.marks[where, which] not in seen:
                seen.add(float(of.marks[where, which]))
                masks = _masks(grown[where], labels.masks[:, which] > 0)
                beam.append(Scored(formula, masks, float(of.aurocs[where, which])))
        return beam


_known: PerOwner[Labels] = PerOwner()


def read_labels(probe: LabelledImages, lexicon: Lexicon) -> Labels:
    """Every label of a probe set and its absence."""
    shown = {word: holds for word in probe.words if (holds := probe.holds(word)) is not None}
    present = np.array([*shown.values()], np.float64).T
    literals = [Literal(word) for word in shown] + [Literal(word, negated=True) for word in shown]
    return Labels(tuple(literals), np.concatenate([present, 1 - present], axis=1), lexicon)


def _longer(grown: Sequence[Growth], labels: Labels, *, ranks: Doubles, marks: Doubles) -> Longer:
    """Every literal at every place: on the images of the base, and those of the region that it holds on."""
    base = np.array([growth.base for growth in grown], np.float64)
    region = np.array([growth.region for growth in grown], np.float64)
    weights = np.stack([np.ones_like(ranks), ranks, marks])
    counts, sums, marked = ((base @ each)[:, None] + (region * each) @ labels.masks for each in weights)
    return Longer(aurocs(sums, counts, n=len(ranks)), counts, marked)


def say(formula: Formula, lexicon: Lexicon) -> str:
    """The formula as a name: 'striped fish not red or boat'."""
    return " or ".join(_say_alternative(alternative, lexicon) for alternative in formula)


def _say_alternative(alternative: Sequence[Literal], lexicon: Lexicon) -> str:
    said = lexicon.phrase([literal.word for literal in alternative if not literal.negated])
    absent = [f"not {literal.word}" for literal in alternative if literal.negated]
    return " ".join([said, *absent] if said else absent)


def _growths(scored: Scored) -> list[Growth]:
    """A new alternative, or one literal more in any alternative."""
    holds = np.any(scored.masks, axis=0)
    count = len(scored.masks)
    found = [Growth(scored.formula, scored.masks, at=count, base=holds, region=~holds)]
    for at, mask in enumerate(scored.masks):
        others = np.zeros_like(mask)
        for other in (*scored.masks[:at], *scored.masks[at + 1 :]):
            others |= other
        found.append(Growth(scored.formula, scored.masks, at=at, base=others, region=mask & ~others))
    return found


def _with(growth: Growth, literal: Literal, lexicon: Lexicon) -> Formula | None:
    """The longer formula; None where no name can say it."""
    if growth.at == len(growth.formula):
        return (*growth.formula, (literal,))
    alternative = (*growth.formula[growth.at], literal)
    kinds = [lexicon.slot(each.word) for each in alternative if not each.negated]
    known = [kind for kind in kinds if kind]
    if len(set(known)) < len(known) or len({each.word for each in alternative}) < len(alternative):
        return None
    return (*growth.formula[: growth.at], alternative, *growth.formula[growth.at + 1 :])


def _masks(growth: Growth, literal: Bools) -> tuple[Bools, ...]:
    """What each alternative of the longer formula holds on."""
    if growth.at == len(growth.masks):
        return (*growth.masks, literal)
    joined = growth.masks[growth.at] & literal
    return (*growth.masks[: growth.at], joined, *growth.masks[growth.at + 1 :])
