"""Measure a dictionary on a set of images, with its controls beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sae.backbone import VisionBackbone
from sae.dictionary import SparseDictionary
from sae.image_source import ImageSource
from sae.measures.cknna import cknna
from sae.measures.density import density_histogram
from sae.measures.directions import directions, stability
from sae.measures.findings import Activity, Fidelity, Findings, Geometry, Matching, Meaning, Role
from sae.measures.monosemanticity import mean_cosine, monosemanticity
from sae.measures.overlap import mean_overlap
from sae.measures.probes import Inputs, Probes, fit_probes
from sae.measures.reading import Reading, Subject, read_tokens
from sae.measures.score import Score, mean_score, plain_score, ratio_score
from sae.measures.tokens import Moments, Tokens, embed_images, moments
from sae.metrics import Doubles

DENSE = 0.1
Say = Callable[[str], None]
Ints = npt.NDArray[np.int64]


class Judge(NamedTuple):
    """A model that says which images are alike, and its embeddings of all of them."""

    name: str
    independent: bool
    embeddings: Doubles
    """(n, D)"""


class Details(NamedTuple):
    """What plots and tables of features are made of; not stored in the record."""

    fvu: Doubles
    """(n,) of each image, by its own tokens."""
    l0: Doubles
    """(n,)"""
    density: Doubles
    """(F,) share of the tokens on which a feature is active."""
    images: Doubles
    """(F,) share of the images."""
    mean: Doubles
    """(F,) mean activation where it is active; 0 for a dead one."""
    highest: Doubles
    """(F,)"""
    monosemanticity: Doubles
    """(F,) nan where it cannot be told."""
    nearest: Doubles
    """(F,) greatest |cosine| of its direction with another; nan of a zero one."""


class Measured(NamedTuple):
    """One dictionary on one set of images."""

    findings: Findings
    details: Details


class Bench(NamedTuple):
    """What dictionaries are measured against one another on."""

    tokens: Tokens
    moments: Moments
    judge: Judge
    labels: Ints | None
    """(n,) numbers of the images' classes; -1: none."""
    seed: int


def set_up(tokens: Tokens, judge: Judge, *, labels: npt.ArrayLike | None = None, seed: int = 0) -> Bench:
    """What a bench needs of its tokens, worked out once."""
    return Bench(
        tokens, moments(tokens), judge, None if labels is None else np.asarray(labels, np.int64), seed
    )


def judge_of(backbone: VisionBackbone, images: ImageSource, *, name: str, independent: bool) -> Judge:
    """A judge from a backbone's embeddings."""
    return Judge(name, independent, embed_images(backbone, images, "pooled"))


def measure_dictionary(subject: Subject, bench: Bench, *, name: str, role: Role = "this") -> Measured:
    """Everything that needs no more than tokens, labels and a judge."""
    reading = read_tokens(subject, bench.tokens)
    scores = monosemanticity(reading.codes, bench.judge.embeddings)
    geometry, nearest = _geometry(subject.dictionary)
    findings = Findings(
        name=name,
        role=role,
        fidelity=_fidelity(reading, bench),
        activity=_activity(reading, seed=bench.seed),
        geometry=geometry,
        meaning=_meaning(reading, bench, scores),
        probes=_probes(reading, bench),
    )
    return Measured(findings, _details(reading, bench, scores, nearest))


def match_dictionaries(first: SparseDictionary, second: SparseDictionary, *, other: str) -> Matching:
    """How far the features of the first are found again in the second; ValueError where widths differ."""
    found = stability(first.W_dec.cpu().numpy(), second.W_dec.cpu().numpy())
    return Matching(
        other=other,
        mean=mean_score(found.cosines, seed=0) if found.matched else plain_score(found.mean),
        found_again=plain_score(found.found_again, n=found.matched),
        matched=found.matched,
    )


def _fidelity(reading: Reading, bench: Bench) -> Fidelity:
    images, seed, n = reading.images, bench.seed, bench.tokens.n_images
    return Fidelity(
        fvu=ratio_score(images.error, bench.moments.spread, seed=seed),
        explained=reading.explained,
        cosine=mean_score(images.cosine, seed=seed),
        length=mean_score(images.length, seed=seed),
        bias=plain_score(reading.bias, n=n),
        gamma=plain_score(bench.moments.gamma, n=n),
    )


def _activity(reading: Reading, *, seed: int) -> Activity:
    active, n = reading.features.active, len(reading.images.l0)
    return Activity(
        l0=mean_score(reading.images.l0, seed=seed),
        dead=plain_score(float((active == 0).mean()), n=n),
        dense=plain_score(float((active > DENSE * reading.rows).mean()), n=n),
        density=density_histogram(active, rows=reading.rows),
    )


def _geometry(dictionary: SparseDictionary) -> tuple[Geometry, Doubles]:
    decoder = dictionary.W_dec.cpu().numpy()
    found = directions(decoder)
    nearest = np.full(len(decoder), np.nan)
    nearest[np.linalg.norm(decoder.astype(np.float64), axis=1) > 0] = found.nearest
    geometry = Geometry(
        orthogonality=plain_score(found.orthogonality),
        coherence=plain_score(found.coherence),
        nearest=plain_score(float(np.median(found.nearest)) if len(found.nearest) else float("nan")),
    )
    return geometry, nearest


def _meaning(reading: Reading, bench: Bench, scores: Doubles) -> Meaning:
    judge, n = bench.judge, bench.tokens.n_images
    known = scores[np.isfinite(scores)]
    return Meaning(
        encoder=judge.name,
        independent=judge.independent,
        monosemanticity=mean_score(known, seed=bench.seed) if len(known) else Score(value=None),
        measured=len(known),
        chance=plain_score(mean_cosine(judge.embeddings), n=n),
        overlap=plain_score(mean_overlap(reading.codes), n=n),
        cknna=plain_score(cknna(reading.codes, bench.tokens.pooled()) if n > 3 else float("nan"), n=n),
    )


def _probes(reading: Reading, bench: Bench) -> Probes | None:
    if bench.labels is None:
        return None
    known = bench.labels >= 0
    inputs = Inputs(bench.tokens.pooled()[known], reading.rebuilt[known], reading.codes[known])
    return fit_probes(inputs, bench.labels[known], seed=bench.seed)


def _details(reading: Reading, bench: Bench, scores: Doubles, nearest: Doubles) -> Details:
    features, spread = reading.features, bench.moments.spread
    return Details(
        fvu=np.divide(reading.images.error, spread, out=np.full(len(spread), np.nan), where=spread > 0),
        l0=reading.images.l0,
        density=features.active / reading.rows,
        images=features.images / bench.tokens.n_images,
        mean=np.divide(
            features.total, features.active, out=np.zeros_like(features.total), where=features.active > 0
        ),
        highest=features.highest,
        monosemanticity=scores,
        nearest=nearest,
    )
