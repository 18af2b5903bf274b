"""The harness's judge: the same sealed figures for every name, whoever gave it.

Its images have seeds that nothing else has, not even an agent's own judge, and a template that no search
uses; its control set is one that no naming sees. A name is drawn once, whatever the number of features it is
judged on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from agent.plans import MAX_NAME
from agent.seeds import Purpose, seeds_of
from agent.shots import Wanted, draw_shots
from agent.toolbox import Toolbox
from evals.cell import Judged, Recall
from evals.drawable import prompts_of
from evals.subject import Bools, LabelledImages, Subject
from sae.metrics import auprc, auroc, best_f1, correlation, f1, iou
from tools.cosy import score_explanation
from tools.protocols import CosyScore, Floats, SparseCode

NEIGHBOURS = 5


class Judge:
    """Judges names of the features of one dictionary."""

    def __init__(self, subject: Subject, tools: Toolbox, *, images: int, seed: int) -> None:
        """``images``: sealed images of a name; ``seed``: the suite's."""
        self._subject, self._tools, self._count, self._seed = subject, tools, images, seed
        self._sealed: dict[tuple[str, Purpose], tuple[str, ...]] = {}

    def images_of(self, name: str, *, purpose: Purpose = "evals") -> tuple[str, ...]:
        """The sealed images of a name, by seed; () where it cannot be drawn.

        ``purpose``: whose seeds; an agent's own judge has others.
        """
        if (name, purpose) not in self._sealed:
            self._sealed[name, purpose] = self._drawn(name, purpose)
        return self._sealed[name, purpose]

    def judge(self, index: int, name: str, *, search_score: float | None = None) -> Judged:
        """All figures of a name for a feature."""
        # On a feature that is never on every name has the same figures: nothing is drawn for them.
        is_dead = self._tools.exemplars.facts(index).p99 <= 0
        images = () if is_dead else self.images_of(name)
        codes = self._tools.score(images) if images else []
        cosy = self._cosy(index, name, codes=codes)
        gap = None if cosy is None or search_score is None else search_score - cosy.auroc
        return Judged(
            cosy=cosy,
            recall=recall(self._subject.held_out, index, name),
            specificity=self._specificity(index, codes),
            optimism=gap,
            images=images,
            activations=tuple(code.activation(index) for code in codes),
        )

    @cached_property
    def control(self) -> Sequence[SparseCode]:
        """Codes of the control set, whose pictures no naming sees."""
        return self._tools.score(self._subject.judge_control.images)

    def _drawn(self, name: str, purpose: Purpose) -> tuple[str, ...]:
        card = self._tools.draw.card
        prompts = prompts_of(name[:MAX_NAME], self._subject.lexicon, card=card)
        if not prompts:
            return ()
        seeds = seeds_of(self._seed, purpose, start=0, count=self._count)
        wanted = [Wanted(prompts[at % len(prompts)], each) for at, each in enumerate(seeds)]
        shots = draw_shots(self._tools, wanted, template=card.judge_template)
        return tuple(shot.image for shot in shots if shot.image is not None)

    def _cosy(self, index: int, name: str, *, codes: Sequence[SparseCode]) -> CosyScore | None:
        if not codes:
            return None
        facts = self._tools.exemplars.facts(index)
        share = self._subject.judge_control.share(name)
        return score_explanation(
            _column(codes, index), _column(self.control, index), threshold=facts.threshold, share=share
        )

    def _specificity(self, index: int, codes: Sequence[SparseCode]) -> float | None:
        """None where there are no images, or no live neighbour to compare with."""
        facts = self._tools.exemplars.facts
        mine = facts(index)
        near = [other for other in mine.neighbours[:NEIGHBOURS] if facts(other).p99 > 0]
        if not codes or not near or mine.p99 <= 0:
            return None
        own = _column(codes, index) / mine.p99
        return float(np.mean([_above(own, _column(codes, other) / facts(other).p99) for other in near]))


def recall(labelled: LabelledImages | None, index: int, name: str) -> Recall | None:
    """How well an activation tells what a name says; None without labels, or where all or none show it."""
    shows = None if labelled is None else labelled.holds(name)
    if labelled is None or shows is None or not shows[0::2].any() or not shows[1::2].any() or shows.all():
        return None
    activation = labelled.activations(index)
    called = called_by(activation, shows)
    return Recall(
        auprc=auprc(activation[shows], activation[~shows]),
        f1=f1(called, shows[1::2]),
        iou=iou(called, shows[1::2]),
        correlation=correlation(activation, shows),
        auroc=auroc(activation[shows], activation[~shows]),
        positives=int(shows.sum()),
        images=len(shows),
    )


def called_by(activation: Floats, shows: Bools) -> Bools:
    """Which odd images the feature calls positive, at the best positive cut on the even ones."""
    even, seen = activation[0::2], shows[0::2]
    if not (even[seen] > 0).any():
        return np.zeros(len(activation[1::2]), dtype=np.bool_)
    _, cut = best_f1(even[seen], even[~seen])
    # A cut at 0 or below calls every image positive: a sparse feature says nothing by being off.
    smallest = float(activation[activation > 0].min())
    called: Bools = activation[1::2] >= max(cut, smallest)
    return called


def _column(codes: Sequence[SparseCode], index: int) -> Floats:
    return np.array([code.activation(index) for code in codes], dtype=np.float32)


def _above(own: Floats, theirs: Floats) -> float:
    return float(np.mean((own > theirs) + 0.5 * (own == theirs)))
