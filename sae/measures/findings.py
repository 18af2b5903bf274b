"""What was measured of a dictionary, as it is stored: one record for it and for each of its controls."""

from __future__ import annotations

from typing import Literal

from sae.feature import Frozen
from sae.measures.density import DensityHistogram
from sae.measures.explained import Explained
from sae.measures.probes import Probes
from sae.measures.score import Score
from sae.measures.substitution import Substitution

Role = Literal["this", "other", "untrained", "noise"]


class Fidelity(Frozen):
    """How well reconstructions fit."""

    fvu: Score
    """Global: sum |x^ - x|^2 / sum |x - mean x|^2 over all tokens; resampled by image."""
    explained: tuple[Explained, ...]
    """Explained variance by every definition."""
    cosine: Score
    """Of x and x^, mean over tokens."""
    length: Score
    """|x^| / |x|, mean over tokens."""
    bias: Score
    """E |x^|^2 / E <x, x^>; 1: reconstructions are of the right size where they point the right way."""
    gamma: Score
    """|mean| / |standard deviation| of the activations; high: uncentred definitions flatter."""


class Activity(Frozen):
    """How often features are active."""

    l0: Score
    """Mean number of active features a token."""
    dead: Score
    """Share of the features that no token activates."""
    dense: Score
    """Share of them that are active on more than a tenth of the tokens."""
    density: DensityHistogram


class Geometry(Frozen):
    """How decoder directions lie to one another."""

    orthogonality: Score
    """Mean squared cosine of two of them."""
    coherence: Score
    """Greatest |cosine| of two of them."""
    nearest: Score
    """Median |cosine| of each with its nearest."""


class Meaning(Frozen):
    """Whether the images of a feature belong together."""

    encoder: str
    """The model whose embeddings say which images are alike."""
    independent: bool
    """Whether it is another model than the one the dictionary is on."""
    monosemanticity: Score
    """Mean MS of the features that two images or more activate."""
    measured: int
    """Features that have an MS."""
    chance: Score
    """What MS would be were images drawn at random: their mean cosine."""
    overlap: Score
    """Mean Jaccard index of the 16 strongest images of two features."""
    cknna: Score
    """Neighbours of images by codes against neighbours by activations."""


class Findings(Frozen):
    """Everything measured of one dictionary on one set of images."""

    name: str
    role: Role
    fidelity: Fidelity
    activity: Activity
    geometry: Geometry
    meaning: Meaning
    probes: Probes | None
    """None without two classes of images."""


class Matching(Frozen):
    """How far features are found again in another dictionary of the same hook point."""

    other: str
    mean: Score
    """Mean |cosine| of the best one-to-one pairs."""
    found_again: Score
    """Share of pairs of |cosine| .9 or more."""
    matched: int


class Evaluation(Frozen):
    """The whole of it: what ``evaluation.json`` says."""

    dictionary: str
    architecture: str
    n_features: int
    width: int
    k: int | None
    backbone: str
    hook_point: str
    pooling: str
    images: str
    """What the set of images is called."""
    n_images: int
    tokens: int
    """Of every image."""
    classes: tuple[str, ...]
    seed: int
    noise_steps: int
    """Training steps of the dictionary on the backbone of random weights; 0: there is none."""
    findings: tuple[Findings, ...]
    """The dictionary first, its controls after it."""
    substitutions: tuple[Substitution, ...]
    matching: tuple[Matching, ...] = ()
    left_out: tuple[str, ...] = ()
    """What could not be measured, and why, a sentence each."""
