"""What linear probes read off activations, off reconstructions and off the features' codes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sae.feature import Frozen
from sae.measures.score import Score, mean_score, resampled, share_score
from sae.metrics import Doubles

TESTED = 0.3
"""Share of the images that is held out."""
LEAST_IMAGES = 4
"""Of a class; smaller ones are left out."""
Ints = npt.NDArray[np.int64]


class ProbeScore(Frozen):
    """A probe, fitted and read on the same kind of input."""

    on: Literal["activations", "reconstructions", "codes"]
    accuracy: Score
    macro_f1: Score


class Probes(Frozen):
    """Logistic regressions of the classes, read on images that were held out."""

    classes: int
    fitted_on: int
    """Images."""
    read_on: int
    commonest: float
    """Accuracy of always saying the commonest class."""
    scores: tuple[ProbeScore, ...]
    agreement: Score
    """Share of the images of which the probe of the activations says the same when it is shown x^."""
    divergence: Score
    """KL(p(x) | p(x^)) of that probe in nats."""


class Inputs(NamedTuple):
    """What probes are fitted on, an image a row."""

    activations: Doubles
    reconstructions: Doubles
    codes: sparse.csr_matrix


class _Probe(NamedTuple):
    scaler: Any
    model: Any
    held_out: Any
    """Inputs of the held-out images."""

    def tell(self, rows: Any) -> Doubles:
        """(n, c) probabilities."""
        told: Doubles = self.model.predict_proba(self.scaler.transform(rows))
        return told


def fit_probes(inputs: Inputs, labels: Sequence[int] | Ints, *, seed: int) -> Probes | None:
    """Fit on 70 % of the images and read on the rest, split by class. None with fewer than two classes.

    ``labels``: (n,) numbers of the classes; classes of fewer than four images are left out.
    """
    truth = np.asarray(labels, np.int64)
    classes, counts = np.unique(truth, return_counts=True)
    kept = np.flatnonzero(np.isin(truth, classes[counts >= LEAST_IMAGES]))
    known = np.unique(truth[kept])
    if len(known) < 2 or len(kept) * TESTED < len(known):
        return None
    truth = np.searchsorted(known, truth)
    train, test = train_test_split(kept, test_size=TESTED, stratify=truth[kept], random_state=seed)
    probes = {
        "activations": _fit(inputs.activations, truth, train=train, test=test),
        "reconstructions": _fit(inputs.reconstructions, truth, train=train, test=test),
        "codes": _fit(inputs.codes, truth, train=train, test=test),
    }
    shown = probes["activations"].tell(inputs.activations[test])
    swapped = probes["activations"].tell(inputs.reconstructions[test])
    same = (shown.argmax(1) == swapped.argmax(1)).astype(np.float64)
    return Probes(
        classes=len(known),
        fitted_on=len(train),
        read_on=len(test),
        commonest=float(np.bincount(truth[test]).max() / len(test)),
        scores=tuple(_score(on, probe, truth[test], seed=seed) for on, probe in probes.items()),
        agreement=share_score(same, seed=seed),
        divergence=mean_score(_divergence(shown, swapped), seed=seed),
    )


def macro_f1(truth: npt.ArrayLike, called: npt.ArrayLike, *, classes: int) -> float:
    """Mean F1 of the classes that are true or called of some image."""
    t, c = np.asarray(truth, np.int64), np.asarray(called, np.int64)
    both = np.bincount(t[t == c], minlength=classes)
    either = np.bincount(t, minlength=classes) + np.bincount(c, minlength=classes)
    seen = either > 0
    return float((2 * both[seen] / either[seen]).mean())


def _fit(rows: Any, truth: Ints, *, train: Ints, test: Ints) -> _Probe:
    # Sparse codes stay sparse: they are scaled and not centred.
    scaler = StandardScaler(with_mean=not sparse.issparse(rows)).fit(rows[train])
    model = LogisticRegression(max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(rows[train]), truth[train])
    return _Probe(scaler, model, rows[test])


def _score(on: Any, probe: _Probe, truth: Ints, *, seed: int) -> ProbeScore:
    told = probe.tell(probe.held_out)
    called = told.argmax(1)
    classes = told.shape[1]
    pairs = np.stack([truth, called], axis=1)
    return ProbeScore(
        on=on,
        accuracy=share_score(called == truth, seed=seed),
        macro_f1=resampled(lambda rows: macro_f1(rows[:, 0], rows[:, 1], classes=classes), pairs, seed=seed),
    )


def _divergence(first: Doubles, second: Doubles) -> Doubles:
    tiny = np.finfo(np.float64).tiny
    p, q = np.maximum(first, tiny), np.maximum(second, tiny)
    found: Doubles = (p * np.log(p / q)).sum(1)
    return np.maximum(found, 0)
