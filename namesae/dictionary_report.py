"""What is known of a dictionary as a whole: verdicts, how well names hold, what they cost, who shares one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from agent.collisions import shared_names
from agent.runs_store import WITHOUT_ANSWER
from namesae.service.feature_query import DictionaryRow, FeatureQuery, VerdictCount
from sae.feature import Frozen
from tools.errors import UsageError

if TYPE_CHECKING:
    from agent.feature_rows import FeatureRow
    from namesae.service.features import Features

BEST_FIRST = FeatureQuery(which="answered", sort="auroc", descending=True)
"""All features with a verdict; those that were never judged come last."""


class Quartiles(Frozen):
    """How a figure is spread over features."""

    features: int
    """How many have it."""
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Quartiles | None:
        """None where there is no figure."""
        if not figures:
            return None
        low, median, high = np.quantile(np.asarray(figures, dtype=np.float64), [0.25, 0.5, 0.75])
        return cls(features=len(figures), low=float(low), median=float(median), high=float(high))


class SharedName(Frozen):
    """A name that several features were given."""

    name: str
    features: tuple[int, ...]


class DictionaryReport(Frozen):
    """One dictionary, as its features stand now."""

    dictionary: str
    n_features: int
    origin: str
    architecture: str | None
    backbone: str | None
    hook_point: str | None
    answered: int
    """Features with a verdict."""
    named: int
    """Features with a name, weak ones included."""
    failed: int
    """Features all of whose runs failed or were stopped: they have none."""
    coverage: float
    """Share of the features that have a verdict."""
    verdicts: tuple[VerdictCount, ...]
    auroc: Quartiles | None
    """Sealed, of features with a name."""
    interval: Quartiles | None
    """Width of its 95 % interval."""
    at_chance: int
    """Features with a name whose interval reaches down to .5."""
    confidence: Quartiles | None
    """Of features with a name."""
    search_images: Quartiles | None
    """Of features with a verdict: those of the run that gave it, without surveys and other runs."""
    usd: float | None
    """What the proposer cost in these runs; None where the price of any is unknown."""
    reviewed: int
    """Features that a person ruled on."""
    proposers: tuple[str, ...]
    first: str
    """When the oldest of these answers was made, ISO 8601, UTC."""
    last: str
    shared: tuple[SharedName, ...]
    """Most features first."""


def report_on(dictionary: str, features: Features) -> tuple[DictionaryReport, tuple[FeatureRow, ...]]:
    """The report and the answers it is about, best first.

    NotFound or IntegrityError as ``features`` raises them; UsageError where no feature has a verdict yet.
    """
    told = features.dictionary(dictionary)
    tried = [row.answer for row in features.every_row(dictionary, BEST_FIRST) if row.answer is not None]
    answers = tuple(each for each in tried if each.verdict not in WITHOUT_ANSWER)
    if not answers:
        raise UsageError(
            f"No feature of {dictionary} has a verdict yet: namesae batch {dictionary} names them, "
            f"namesae name {dictionary}#INDEX one."
        )
    return _report(told, answers, failed=len(tried) - len(answers)), answers


def _report(told: DictionaryRow, answers: Sequence[FeatureRow], *, failed: int) -> DictionaryReport:
    named = [each for each in answers if each.name is not None]
    intervals = [each.auroc_ci for each in named if each.auroc_ci is not None]
    created = sorted(each.created for each in answers)
    return DictionaryReport(
        dictionary=told.name,
        n_features=told.n_features,
        origin=told.origin,
        architecture=told.architecture,
        backbone=told.backbone,
        hook_point=told.hook_point,
        answered=len(answers),
        named=len(named),
        failed=failed,
        coverage=len(answers) / told.n_features,
        verdicts=_verdicts(answers),
        auroc=Quartiles.of([each.auroc for each in named if each.auroc is not None]),
        interval=Quartiles.of([each.high - each.low for each in intervals]),
        at_chance=sum(each.low <= 0.5 for each in intervals),
        confidence=Quartiles.of([each.confidence for each in named]),
        search_images=Quartiles.of([float(each.search_images) for each in answers]),
        usd=_dollars(answers),
        reviewed=sum(each.reviewed for each in answers),
        proposers=tuple(sorted({each.proposer for each in answers})),
        first=created[0],
        last=created[-1],
        shared=_shared(named),
    )


def _verdicts(answers: Iterable[FeatureRow]) -> tuple[VerdictCount, ...]:
    counts = Counter(each.verdict for each in answers)
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(VerdictCount(verdict=verdict, count=count) for verdict, count in ordered)


def _dollars(answers: Sequence[FeatureRow]) -> float | None:
    known = [each.usd for each in answers if each.usd is not None]
    return sum(known) if len(known) == len(answers) else None


def _shared(named: Sequence[FeatureRow]) -> tuple[SharedName, ...]:
    pairs = sorted((each.index, each.name) for each in named if each.name is not None)
    found = [SharedName(name=name, features=held) for name, held in shared_names(pairs).items()]
    return tuple(sorted(found, key=lambda each: (-len(each.features), each.name)))
