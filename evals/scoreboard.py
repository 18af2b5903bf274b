"""Everything a report shows, as data: computed once from the cells, then written in any format."""

from __future__ import annotations

from sae.feature import Frozen


class Figure(Frozen):
    """A figure over features with its 95 % interval. ``value`` None: no feature has it."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Features it is a figure of."""


class Row(Frozen):
    """One condition over one group of features."""

    condition: str
    title: str
    group: str
    """'all', a group of the suite, 'kind: and', 'outside the seeds' or 'inside the seeds'."""
    features: int
    """Asked of it."""
    named: int
    """Names put forward."""
    abstained: int
    failed: int
    """Counted here, and in no mean."""
    accuracy: Figure
    """Share of features with a true concept whose name is right, weak names included; no name is wrong."""
    exact: Figure
    synonym: Figure
    similarity: Figure
    named_share: Figure
    """Share of all features for which a name is put forward."""
    abstention: Figure
    """Share of features without a true concept about which it rightly puts no name forward."""
    precision: Figure
    """Share right among the names put forward."""
    auroc: Figure
    mad: Figure
    """Median: means of MAD mean nothing over features of different density."""
    max_mad: Figure
    activation_rate: Figure
    auprc: Figure
    f1: Figure
    iou: Figure
    correlation: Figure
    specificity: Figure
    optimism: Figure
    collisions: Figure
    """Share of names that another feature of the same dictionary with another true concept has too."""
    charged: float
    """Mean images charged to the search, a feature."""
    verdict_images: float = 0.0
    """Mean images its own judge asked for beside them; 0 where it does not judge itself."""
    distinct: int
    """Different images asked for, over all features."""
    llm_calls: float
    tokens: float | None
    usd: float | None
    seconds: float
    """Mean, as measured here: images another condition had drawn cost nothing again."""


class Difference(Frozen):
    """One condition less another over the features both answered, paired by feature."""

    ours: str
    theirs: str
    measure: str
    """'accuracy', 'auroc', 'auprc', 'correlation' or 'named'."""
    group: str
    estimate: Figure
    p: float | None
    """Two-sided: exact McNemar for accuracy and named, Wilcoxon signed-rank else."""
    p_corrected: float | None
    """Holm, over all comparisons of one measure and group."""


class VerdictRow(Frozen):
    """How often one condition says exactly what is right of features that should get no name."""

    condition: str
    title: str
    dead: Figure
    """Share of the dead features it calls dead; so for the dense."""
    dense: Figure
    incoherent: Figure
    """Share of the features no words describe that it calls unexplained; a weak name is not right."""
    undrawable: Figure
    """Share of the features whose concept the generator does not show that it calls unrenderable."""
    lost: Figure
    """Share of all other features with a concept about which it gives no name, not even a weak one."""


class CoveragePoint(Frozen):
    """What is right when only names of at least this confidence (or own score) are kept."""

    coverage: float
    precision: float
    cut: float


class CoverageCurve(Frozen):
    """Coverage against precision, best names first; ``area``: mean precision over all coverages."""

    condition: str
    title: str
    by: str
    """'confidence' or 'own score'."""
    points: tuple[CoveragePoint, ...]
    area: float


class CalibrationBin(Frozen):
    """About a fifth of a condition's names, next to each other in confidence."""

    condition: str
    low: float
    """The least confidence among them."""
    high: float
    """The greatest."""
    confidence: float
    """Their mean."""
    accuracy: Figure


class CalibrationError(Frozen):
    """How far stated confidences lie from what came of them: mean over bins of equal mass."""

    condition: str
    names: Figure
    """Of the names given."""
    everything: Figure
    """Of all features: giving no name counts as confidence in that."""


class CostPoint(Frozen):
    """Accuracy when every search is stopped at this many images."""

    images: float
    accuracy: Figure


class CostCurve(Frozen):
    """Accuracy against images charged."""

    condition: str
    title: str
    points: tuple[CostPoint, ...]


class BatchPoint(Frozen):
    """One feature of a batch."""

    named_before: int
    charged: int
    """Search images, its share of the survey included."""
    mean: float
    """Images spent by now for each feature that got a name, the whole survey from the first on."""


class BatchCurve(Frozen):
    """What the features of one dictionary cost, in the order in which a batch named them."""

    condition: str
    title: str
    dictionary: str
    points: tuple[BatchPoint, ...]


class SanityRow(Frozen):
    """How often a metric passes the missing-label and extra-label tests (arXiv 2506.05774)."""

    metric: str
    missing: Figure
    extra: Figure


class QuotedRow(Frozen):
    """A figure someone else published, on other features: beside ours, never compared with it."""

    label: str
    source: str
    measure: str
    value: float
    note: str = ""


class Totals(Frozen):
    """What the whole evaluation came to."""

    cells: int
    expected: int
    features: int
    charged: int
    """Images, to all searches."""
    distinct: int
    """Different ones of them."""
    judged: int = 0
    """Different images that names were judged on."""
    drawn: int
    """Images that had not been drawn before the cells were filled, for searches and judges."""
    seconds: float


class Scoreboard(Frozen):
    """A whole evaluation in figures."""

    suite: str
    description: str
    version: str
    seed: int
    proposer: str
    sealed: int
    control: int
    """Images of the judge's control set."""
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...] = ()
    coverage: tuple[CoverageCurve, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    calibration_errors: tuple[CalibrationError, ...] = ()
    costs: tuple[CostCurve, ...] = ()
    sanity: tuple[SanityRow, ...] = ()
    quoted: tuple[QuotedRow, ...] = ()
    verdicts: tuple[VerdictRow, ...] = ()
    batches: tuple[BatchCurve, ...] = ()
    missing: tuple[str, ...] = ()
    """What was not run, a sentence each."""
    notes: tuple[str, ...] = ()
    """What deviates from the methods as published, a sentence each."""
    totals: Totals
