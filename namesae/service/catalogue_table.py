"""All features of a dictionary as columns: filtered, sorted and cut into pages without a word to Redis."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from namesae.service.catalogue_lines import (
    CODES,
    UNTRIED,
    VERDICTS,
    Columns,
    Flags,
    Known,
    Numbers,
    fill_columns,
    read_lines,
    row_of,
)
from namesae.service.feature_names import Indices, Matches, NameIndex, fold, index_in
from namesae.service.feature_query import FeatureQuery, GridRow, Sort, VerdictCount

_SELECTIONS = 16


class Distinct(NamedTuple):
    """Each name once, and whose it is."""

    names: tuple[str, ...]
    """Folded, sorted."""
    codes: Indices
    """(F,) which of them a feature has; -1 without one."""


class Rows(NamedTuple):
    """What is told of the features, one entry a feature."""

    columns: Columns
    lines: Sequence[bytes | None]
    """A FeatureRow as JSON; None where nobody tried."""
    folded: Sequence[str]
    """The folded name; empty where there is none."""


class Table:
    """The features of a dictionary at one moment; what changes later is in another table."""

    def __init__(self, known: Known, rows: Rows, *, last: str, names: Sequence[str] | None = None) -> None:
        """``last``: id of the last change that is in it. ``names``: all folded names, sorted, if any."""
        self.known, self.rows, self.last = known, rows, last
        self._names = names
        self._ranked: dict[tuple[Sort, bool], Indices] = {}
        self._selected: dict[FeatureQuery, Indices] = {}

    @classmethod
    def empty(cls, known: Known, *, last: str) -> Table:
        """A table of features nobody tried."""
        count = len(known.density)
        nothing = np.full(count, np.nan)
        verdict = np.full(count, UNTRIED, np.int8)
        columns = Columns(
            verdict, np.zeros(count, np.bool_), nothing, nothing, nothing, known.density, known.scale
        )
        return cls(known, Rows(columns, [None] * count, [""] * count), last=last)

    @property
    def columns(self) -> Columns:
        """Figures, an entry a feature."""
        return self.rows.columns

    @property
    def folded(self) -> Sequence[str]:
        """Folded names by feature, empty where there is none."""
        return self.rows.folded

    def __len__(self) -> int:
        return len(self.rows.lines)

    def with_lines(self, lines: Mapping[int, bytes], *, last: str) -> Table:
        """This table with other lines, by feature; those of features beyond its own are left out."""
        columns = self.columns.copied()
        held, folded = list(self.rows.lines), list(self.folded)
        told = read_lines({at: line for at, line in lines.items() if 0 <= at < len(held)})
        for index, brief in told.items():
            held[index], folded[index] = lines[index], fold(brief["name"] or "")
        fill_columns(columns, told, known=self.known)
        names = None
        if self._names is not None:
            names = _with_names(self._names, {folded[index] for index in told})
        return Table(self.known, Rows(columns, held, folded), last=last, names=names)

    def row(self, index: int) -> GridRow:
        """One feature; IndexError beyond the last."""
        line = self.rows.lines[index]
        return GridRow(
            index=index,
            density=_number(self.columns.density[index]),
            scale=_number(self.columns.scale[index]),
            answer=None if line is None else row_of(line),
        )

    def match(self, text: str) -> Matches:
        """The features whose names a text is in."""
        return self.names.match(text)

    def select(self, query: FeatureQuery) -> Indices:
        """All features a query finds, in its order; its page is left out of account."""
        asked = query.model_copy(update={"cursor": 0, "limit": 1})
        found = self._selected.get(asked)
        if found is None:
            found = self._select(asked)
            if len(self._selected) >= _SELECTIONS:
                self._selected.clear()
            self._selected[asked] = found
        return found

    @cached_property
    def names(self) -> NameIndex:
        """The names, to be searched."""
        return NameIndex(self.folded)

    @cached_property
    def distinct(self) -> Distinct:
        """Each folded name once."""
        names = tuple(sorted({name for name in self.folded if name}))
        codes = {name: at for at, name in enumerate(names)}
        return Distinct(names, np.array([codes.get(name, -1) for name in self.folded], np.int64))

    @property
    def named(self) -> Flags:
        """(F,) whether a feature has a name."""
        return self.columns.named

    @property
    def answered(self) -> Flags:
        """(F,) whether it has a verdict."""
        answered: Flags = self.columns.verdict != UNTRIED
        return answered

    def verdicts(self) -> tuple[VerdictCount, ...]:
        """How many features have each verdict, most frequent first."""
        counts = np.bincount(self.columns.verdict[self.answered], minlength=len(VERDICTS))
        found = [
            VerdictCount(verdict=verdict, count=int(count))
            for verdict, count in zip(VERDICTS, counts, strict=True)
            if count
        ]
        return tuple(sorted(found, key=lambda each: -each.count))

    def _select(self, query: FeatureQuery) -> Indices:
        order = self._rank(query.sort, query.descending)
        kept = self._kept(query)
        return order if kept is None else order[kept[order]]

    def _kept(self, query: FeatureQuery) -> Flags | None:
        """(F,) whether a feature passes every filter; None where there is none."""
        filters = [*self._which(query)]
        if query.verdict:
            filters.append(np.isin(self.columns.verdict, [CODES[each] for each in query.verdict]))
        if query.min_auroc is not None:
            # A comparison with NaN is False: what was not judged does not pass.
            filters.append(self.columns.auroc >= query.min_auroc)
        if query.text.strip():
            filters.append(self._texts(query.text))
        kept: Flags | None = np.logical_and.reduce(filters) if filters else None
        return kept

    def _which(self, query: FeatureQuery) -> Iterator[Flags]:
        if query.which == "answered":
            yield self.answered
        elif query.which == "untried":
            yield ~self.answered
        elif query.which in ("named", "unnamed"):
            yield self.named == (query.which == "named")

    def _texts(self, text: str) -> Flags:
        kept = np.zeros(len(self), np.bool_)
        kept[self.match(text).indices] = True
        index = index_in(text)
        if index is not None and index < len(self):
            kept[index] = True
        return kept

    def _rank(self, sort: Sort, descending: bool) -> Indices:
        """All features in order; those without a value last either way, ties by index."""
        found = self._ranked.get((sort, descending))
        if found is None:
            values = self._values(sort)
            found = np.argsort(-values if descending else values, kind="stable")
            self._ranked[sort, descending] = found
        return found

    def _values(self, sort: Sort) -> Numbers:
        if sort == "index":
            return np.arange(len(self), dtype=np.float64)
        return self._name_ranks() if sort == "name" else getattr(self.columns, sort)

    def _name_ranks(self) -> Numbers:
        if self._names is None:
            self._names = sorted(set(self.folded))
        ranks = {name: at for at, name in enumerate(self._names)}
        return np.array([ranks[name] if name else np.nan for name in self.folded], np.float64)


def _with_names(names: Sequence[str], fresh: set[str]) -> Sequence[str]:
    """Sorted names and the fresh ones among them; those that nobody has any more may stay."""
    missing = [name for name in fresh if (at := bisect_left(names, name)) == len(names) or names[at] != name]
    return sorted([*names, *missing]) if missing else names


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
