"""What is asked about the features of a dictionary, and the lines and pages that answer it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from agent.feature_rows import FeatureRow
from agent.records import VerdictKind
from sae.feature import Frozen

Sort = Literal["index", "name", "auroc", "confidence", "density", "created"]
Which = Literal["all", "answered", "named", "unnamed", "untried"]
"""*answered*: with a verdict. *named*: with a name. *unnamed*: without one, tried or not. *untried*: without
a verdict."""
SearchBy = Literal["name", "meaning"]
SimilarBy = Literal["decoder", "name", "activation"]
MOST_ROWS = 500
MOST_HITS = 200
MOST_POINTS = 5000


class FeatureQuery(Frozen):
    """Which features, in what order, and which part of them."""

    text: str = Field(default="", max_length=200)
    """In the name, case and accents aside; ``17`` or ``#17`` is a feature by its index."""
    verdict: tuple[VerdictKind, ...] = Field(default=(), max_length=9)
    """Any of these; none means all."""
    min_auroc: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    """Of the sealed AUROC."""
    which: Which = "all"
    sort: Sort = "index"
    """Ties are by index; features without the figure come last either way."""
    descending: bool = False
    cursor: int = Field(default=0, ge=0, le=100_000_000)
    """Rows to pass over: ``next`` of the page before."""
    limit: int = Field(default=60, ge=1, le=MOST_ROWS)


class GridRow(Frozen):
    """A feature, answered or not."""

    index: int
    density: float | None
    """Share of the probe set with a non-zero activation; None where that is not known yet."""
    scale: float | None
    """99th percentile of its non-zero probe activations."""
    answer: FeatureRow | None
    """None where nobody has named it."""


class FeaturePage(Frozen):
    """A part of what a query finds."""

    rows: tuple[GridRow, ...]
    total: int
    """Features the query finds in all."""
    next: int | None
    """Cursor of the page after this one; None at the end."""


class VerdictCount(Frozen):
    """How many features of a dictionary have a verdict."""

    verdict: VerdictKind
    count: int


class DictionaryRow(Frozen):
    """A dictionary and how far it is named."""

    name: str
    n_features: int
    origin: str
    """shipped, yours, built, planted; damaged where ``fault`` says why."""
    architecture: str | None = None
    backbone: str | None = None
    """Kind and name of the vision model."""
    hook_point: str | None = None
    named: int = 0
    """Features with a name."""
    answered: int = 0
    """Features with a verdict."""
    verdicts: tuple[VerdictCount, ...] = ()
    """Most frequent first."""
    coverage: float = 0.0
    """Share of the features that have a verdict."""
    meaning: bool = False
    """Whether a search by meaning can work: some model beside it reads texts."""
    decoder: bool = False
    """Whether it has decoder directions to compare."""
    fault: str | None = None
    """Why a damaged one cannot be used, in one sentence."""


class Hit(Frozen):
    """A feature found."""

    dictionary: str
    row: GridRow
    score: float
    """Higher is nearer: by name 1 equal, 0.8 begins so, 0.6 a word, 0.5 begins a word, 0.4 within; else a
    cosine."""


class FeatureActivation(Frozen):
    """What a feature does on one image."""

    activation: float
    """Pooled over the image."""
    relative: float | None
    """In units of the 99th percentile of its non-zero probe activations; None where that is not known."""
    fires: bool | None
    """Whether it exceeds half that percentile."""
    row: GridRow


class Ranking(NamedTuple):
    """The features most active on one image."""

    activations: tuple[FeatureActivation, ...]
    relative: bool
    """Whether each was ranked in units of its own scale; by activation where one of them is not known."""
    active: int
    """Features that are active at all."""


class ScatterPoint(Frozen):
    """A feature as a point."""

    index: int
    density: float
    scale: float
    verdict: VerdictKind | None


class Scatter(Frozen):
    """Density against activation scale."""

    points: tuple[ScatterPoint, ...]
    """By index. Where there are more, as many of each verdict as its share, at least one."""
    total: int
    """Features whose density and scale are known."""
