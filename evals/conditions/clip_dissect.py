"""CLIP-Dissect, soft-WPMI (arXiv 2204.10965): the name an image-text model sees in the top probe images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evals.answer import Answer, Step
from evals.per_owner import PerOwner
from evals.plain_condition import PlainCondition
from evals.subject import Case, Subject
from evals.wordlist import names_of
from tools.protocols import Floats

Doubles = npt.NDArray[np.float64]

SAMPLE = 512
"""Features that the prior of a name is taken over, at most."""
SHOWN = 5
"""Names told of in the steps of an answer."""


class ClipDissect(PlainCondition):
    """Soft-WPMI of a feature's top images and every name of the list.

    P = softmax over names of a * cosine(image, name); log p(t|B) = sum_i log(1 + p_i (P_it - 1)) over the
    ``top_k`` images of highest activation, p_i falling linearly from ``p_start`` to ``p_end``; the score is
    log p(t|B) - lam * log p(t), with log p(t) = logsumexp over features of log p(t|B_f) - log F. The defaults
    are the published ones; a = 10 multiplies cosines, so P is nearly flat, as in the original.

    Two things differ: names are embedded in the generator's search template, and log p(t) is over those
    features that fire on some probe image, of which the suite's seed draws 512 where there are more. Images
    of equal activation are taken in the order of the probe set. A feature that fires on none is called dead.
    """

    top_k: int = 100
    a: float = 10.0
    lam: float = 1.0
    p_start: float = 0.998
    p_end: float = 0.97

    @property
    def title(self) -> str:
        """What reports call it."""
        return "CLIP-Dissect"

    def lacks(self, subject: Subject) -> str | None:
        """An image-text model, where there is none."""
        return "an image-text model" if subject.joint is None else None

    def answer(self, case: Case) -> Answer:
        """The name of highest soft-WPMI."""
        activation = case.subject.probe_activations(case.feature.index)
        if not np.any(activation):
            return Answer(name=None, verdict="dead")
        dissection = self._dissection(case)
        scores = self._likelihood(activation, dissection.shares) - self.lam * dissection.prior
        best = np.argsort(-scores, kind="stable")[:SHOWN]
        steps = tuple(Step(text=dissection.names[at], score=float(scores[at])) for at in best)
        return Answer(name=steps[0].text, score=steps[0].score, steps=steps)

    def _dissection(self, case: Case) -> _Dissection:
        template = case.toolbox.draw.card.search_template
        return _known.get(
            case.subject,
            (self, template, case.seed),
            lambda: self._dissect(case.subject, template, case.seed),
        )

    def _dissect(self, subject: Subject, template: str, seed: int) -> _Dissection:
        if subject.joint is None:
            raise ValueError(f"Dictionary {subject.dictionary} has no image-text model; see lacks().")
        names = names_of(subject.lexicon)
        shares = _softmax(self.a * subject.joint.similarity([template.format(name) for name in names]))
        likelihoods = [
            self._likelihood(subject.probe_activations(index), shares) for index in live(subject, seed=seed)
        ]
        prior = np.logaddexp.reduce(likelihoods, axis=0) - np.log(len(likelihoods))
        return _Dissection(names, shares, prior)

    def _likelihood(self, activation: Floats, shares: Floats) -> Doubles:
        top = np.argsort(-activation, kind="stable")[: self.top_k]
        weights = np.linspace(self.p_start, self.p_end, len(top))[:, None]
        likelihood: Doubles = np.log1p(weights * (shares[top].astype(np.float64) - 1)).sum(0)
        return likelihood


class _Dissection(NamedTuple):
    """What is common to all features of a dictionary."""

    names: tuple[str, ...]
    shares: Floats
    """(n, names) softmax over names, by probe image."""
    prior: Doubles
    """(names,) log p(t)."""


_known: PerOwner[_Dissection] = PerOwner()


def live(subject: Subject, *, seed: int, most: int = SAMPLE) -> list[int]:
    """Up to ``most`` features that fire on a probe image, drawn by the seed."""
    found: list[int] = []
    for index in np.random.default_rng(seed).permutation(subject.n_features):
        if len(found) == most:
            break
        if np.any(subject.probe_activations(int(index))):
            found.append(int(index))
    return found


def _softmax(logits: Floats) -> Floats:
    shares: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares
