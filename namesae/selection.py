"""Which features are meant: ``DICTIONARY#3,7,10-20``, ``DICTIONARY#truth>=0.8`` or ``DICTIONARY#kind=and``,
sampled with a seed.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from namesae.dictionaries import Listed, TruthRow, read_truth
from sae.feature import Feature
from tools.errors import UsageError

MOST_PER_CONCEPT = 2
LEAST_CONJUNCTIONS = 10

_TRUTH = re.compile(r"truth\s*(?:>=|≥)\s*(\d*\.?\d+)")
_KIND = re.compile(r"kind\s*=\s*([a-z][a-z-]*)")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_FORM = "write DICTIONARY#INDEX, DICTIONARY#3,7,10-20 or 'DICTIONARY#truth>=0.8'"


class Span(NamedTuple):
    """Indices from first to last, both included."""

    first: int
    last: int


class Selection(NamedTuple):
    """A request for features, read but not yet looked up."""

    dictionary: str
    spans: tuple[Span, ...] = ()
    least_f1: float | None = None
    """Features whose truth is known with at least this F1; None where indices or a kind are given."""
    kind: str | None = None
    """Features whose truth is of this kind."""


def parse_selection(text: str) -> Selection:
    """Read a selection; UsageError when it is none."""
    dictionary, mark, rest = text.strip().rpartition("#")
    if not (mark and dictionary and rest.strip()):
        raise UsageError(f"Selection {text!r} names no feature; {_FORM}.")
    if truth := _TRUTH.fullmatch(rest.strip()):
        least = float(truth[1])
        if least > 1:
            raise UsageError(f"Selection {text!r} asks for an F1 of {least:g}; give one from 0 to 1.")
        return Selection(dictionary, least_f1=least)
    if kind := _KIND.fullmatch(rest.strip()):
        return Selection(dictionary, kind=kind[1])
    return Selection(dictionary, spans=tuple(_span(part.strip(), text) for part in rest.split(",")))


def choose_features(
    selection: Selection, listed: Listed, *, sample: int | None = None, seed: int = 0
) -> tuple[Feature, ...]:
    """The features meant, in order and once each; UsageError where they do not exist or are too few.

    A sample by truth holds at most two features of a concept and, where there are any, at least ten
    conjunctions (half the sample where it is smaller than twenty); any other sample is a plain one.
    """
    if sample is not None and sample < 1:
        raise UsageError(f"--sample {sample} asks for nothing; give 1 or more.")
    if selection.least_f1 is not None:
        indices: Sequence[int] = _by_truth(listed, selection.least_f1, sample=sample, seed=seed)
    elif selection.kind is not None:
        found = _of_kind(listed, selection.kind)
        indices = _plain_sample(found, sample, listed=listed, which=f"of kind {selection.kind}", seed=seed)
    else:
        found = list(dict.fromkeys(_indices(selection.spans, listed)))
        indices = _plain_sample(found, sample, listed=listed, which="of those indices", seed=seed)
    return tuple(Feature(dictionary=listed.name, index=index) for index in indices)


def _span(part: str, text: str) -> Span:
    found = _RANGE.fullmatch(part)
    if not found:
        raise UsageError(f"Selection {text!r} has {part!r} where an index or A-B belongs; {_FORM}.")
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise UsageError(f"Selection {text!r} has the range {part!r} backwards; write {last}-{first}.")
    return Span(first, last)


def _indices(spans: Iterable[Span], listed: Listed) -> Iterable[int]:
    for span in spans:
        if span.last >= listed.n_features:
            raise UsageError(
                f"Feature {listed.name}#{span.last} does not exist; "
                f"{listed.name} has features 0 to {listed.n_features - 1}."
            )
        yield from range(span.first, span.last + 1)


def _of_kind(listed: Listed, kind: str) -> list[int]:
    rows = read_truth(listed)
    found = [row.index for row in rows if row.kind == kind]
    if not found:
        kinds = ", ".join(sorted({row.kind for row in rows}))
        raise UsageError(f"{listed.name} has no feature of kind {kind!r}; there are {kinds}.")
    return found


def _plain_sample(
    indices: list[int], sample: int | None, *, listed: Listed, which: str, seed: int
) -> list[int]:
    if sample is None:
        return indices
    _require_enough(len(indices), sample, where=f"{listed.name} offers", which=which)
    return sorted(random.Random(seed).sample(indices, sample))


def _by_truth(listed: Listed, least_f1: float, *, sample: int | None, seed: int) -> list[int]:
    known = read_truth(listed)
    rows = [row for row in known if row.concept and (row.f1 or 0.0) >= least_f1]
    if not rows:
        best = max((row.f1 or 0.0 for row in known if row.concept), default=0.0)
        raise UsageError(f"No feature of {listed.name} reaches F1 {least_f1:g}; the best has {best:.2f}.")
    if sample is None:
        return [row.index for row in rows]
    chosen = _sampled(rows, sample, seed=seed)
    _require_enough(
        len(chosen),
        sample,
        where=f"{listed.name}#truth>={least_f1:g} offers",
        which=f"at most {MOST_PER_CONCEPT} a concept",
    )
    return sorted(row.index for row in chosen)


def _sampled(rows: Sequence[TruthRow], sample: int, *, seed: int) -> list[TruthRow]:
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    joined = [row for row in shuffled if row.kind == "and"]
    chosen: list[TruthRow] = []
    taken: Counter[str] = Counter()
    quota = min(LEAST_CONJUNCTIONS, sample // 2)
    for pool, most in ((joined, quota), (shuffled, sample)):
        for row in pool:
            if len(chosen) < most and row not in chosen and taken[row.concept] < MOST_PER_CONCEPT:
                chosen.append(row)
                taken[row.concept] += 1
    return chosen


def _require_enough(available: int, sample: int, *, where: str, which: str) -> None:
    if available < sample:
        raise UsageError(
            f"{where} {available} features ({which}), fewer than --sample {sample}; ask for that many."
        )
