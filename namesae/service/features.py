"""Dictionaries and their features, as the service shows them: list, filter, search, compare."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from agent.records import Explanation
from namesae.dictionaries import Damaged, Listed
from namesae.file_sums import FileSums
from namesae.service.catalogue_table import Table
from namesae.service.feature_dictionaries import Dictionaries, fault_of
from namesae.service.feature_images import ImageScorers
from namesae.service.feature_meaning import Meanings, may_read, no_reader, reader_of
from namesae.service.feature_names import EQUAL, Matches, index_in
from namesae.service.feature_query import (
    MOST_HITS,
    DictionaryRow,
    FeatureActivation,
    FeaturePage,
    FeatureQuery,
    GridRow,
    Hit,
    Ranking,
    Scatter,
    SearchBy,
    SimilarBy,
)
from namesae.service.feature_shelf import FeatureShelf
from sae.errors import NoTextTower
from sae.feature import Feature
from tools.errors import NamesaeError, UsageError
from tools.protocols import FeatureFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL import Image

    from namesae.settings import Settings
    from namesae.wiring import State
    from sae.card import BackboneSpec, DictionaryCard

FIRES = 0.5
"""Of its scale: what a feature must exceed to fire."""


class Features:
    """All features of all dictionaries that have a name. Safe to call from several threads at once."""

    def __init__(self, settings: Settings, state: State, *, also: Sequence[Listed] = ()) -> None:
        """``also``: dictionaries without a name of their own; never from a request."""
        self.settings, self.state = settings, state
        self._dictionaries = Dictionaries(settings, also=also)
        self._lock = Lock()
        self._shelves: dict[str, FeatureShelf] = {}
        self._meanings: dict[BackboneSpec, Meanings] = {}

    def dictionaries(self) -> tuple[DictionaryRow, ...]:
        """Every dictionary by name, the damaged ones with why."""
        return tuple(
            _damaged_row(each) if isinstance(each, Damaged) else self._row_of(self._shelf_of(each))
            for each in self._dictionaries.all()
        )

    def dictionary(self, name: str) -> DictionaryRow:
        """One dictionary; NotFound for a name there is not, IntegrityError for a damaged one."""
        return self._row_of(self._shelf(name))

    def warm(self) -> None:
        """Read the lines of every dictionary, so that no request has to wait for that."""
        for listed in self._dictionaries.whole():
            self._shelf_of(listed).table()

    def rows(self, dictionary: str, query: FeatureQuery) -> FeaturePage:
        """A page of a dictionary's features; NotFound for a dictionary there is not."""
        table = self._shelf(dictionary).table()
        found = table.select(query)
        end = query.cursor + query.limit
        return FeaturePage(
            rows=tuple(table.row(int(index)) for index in found[query.cursor : end]),
            total=len(found),
            next=end if end < len(found) else None,
        )

    def every_row(self, dictionary: str, query: FeatureQuery) -> Iterator[GridRow]:
        """All features a query finds as they are now, its page aside."""
        table = self._shelf(dictionary).table()
        return (table.row(int(index)) for index in table.select(query))

    def card(self, dictionary: str) -> DictionaryCard | None:
        """All about a dictionary but its weights; None for the planted one. Errors as for ``dictionary``."""
        return self._shelf(dictionary).listed.card

    def row(self, dictionary: str, index: int) -> GridRow:
        """One feature in brief; NotFound where there is none."""
        shelf = self._shelf(dictionary)
        shelf.check(index)
        return shelf.table().row(index)

    def latest(self, dictionary: str, index: int) -> Explanation | None:
        """The answer that ``row`` is about: the last that did not fail, if any; None where there is none."""
        answer = self.row(dictionary, index).answer
        return None if answer is None else self.state.runs.explanation(answer.run)

    def history(self, dictionary: str, index: int, *, count: int = 10) -> tuple[Explanation, ...]:
        """Its explanations, failed ones too, latest first."""
        self._shelf(dictionary).check(index)
        feature = Feature(dictionary=dictionary, index=index)
        return tuple(self.state.runs.of_feature(str(feature), count=count))

    def facts(self, dictionary: str, index: int) -> FeatureFacts | None:
        """What is known of it from the probe set and the weights; None before anything was worked out."""
        shelf = self._shelf(dictionary)
        shelf.check(index)
        found = shelf.facts.facts(index)
        if found is not None:
            return found
        told = self.latest(dictionary, index)
        return None if told is None or told.evidence is None else told.evidence.facts

    def search(
        self, text: str, *, dictionary: str | None = None, by: SearchBy = "name", limit: int = 50
    ) -> tuple[Hit, ...]:
        """Named features by their name, best first; in all dictionaries where none is given.

        ``17``, ``#17`` and ``sandbox#17`` find a feature by its index, named or not. By meaning a text model
        is loaded when first asked (imports torch): UsageError where none reads texts.
        """
        shelves = self._searched(dictionary)
        count = max(1, min(limit, MOST_HITS))
        if by == "meaning":
            return self._by_meaning(text, shelves, limit=count)
        name, _, number = text.strip().rpartition("#")
        if name and (index := index_in(number)) is not None:
            return tuple(_itself(shelf, index) for shelf in shelves if _has(shelf, name, index))
        hits = [hit for shelf in shelves for hit in _by_name(shelf, text, limit=count)]
        return _ranked(hits, count)

    def similar(
        self, dictionary: str, index: int, *, by: SimilarBy = "decoder", limit: int = 12
    ) -> tuple[Hit, ...]:
        """Other features of the dictionary, nearest first: by cosine of decoder directions, by words of the
        names, or by cosine of the activations on the probe set. UsageError where that is not known."""
        shelf = self._shelf(dictionary)
        shelf.check(index)
        ways: dict[SimilarBy, Callable[[int], Matches]] = {
            "decoder": shelf.near_by_decoder,
            "name": shelf.near_by_name,
            "activation": shelf.near_by_activation,
        }
        near = ways[by](index)
        return tuple(shelf.hits(shelf.table(), near, limit=max(1, min(limit, MOST_HITS))))

    def top_features(
        self, image: bytes, *, dictionary: str, limit: int = 20
    ) -> tuple[FeatureActivation, ...]:
        """``ranked`` for an image as it is sent.

        NotFound for an unknown dictionary; UsageError for what ``read_picture`` refuses.
        """
        from namesae.service.picture_reading import read_picture

        shelf = self._shelf(dictionary)
        return self._ranked(read_picture(image), shelf, limit=limit).activations

    def ranked(self, picture: Image.Image, *, dictionary: str, limit: int = 20) -> Ranking:
        """The features most active on a picture, each in units of its own scale where all are known.

        Runs the backbone, loaded when first asked.
        """
        return self._ranked(picture, self._shelf(dictionary), limit=limit)

    def _ranked(self, picture: Image.Image, shelf: FeatureShelf, *, limit: int) -> Ranking:
        code = self._scorers.score(shelf.listed, picture)
        table = shelf.table()
        values = code.values.astype(np.float64)
        scales = table.columns.scale[code.indices]
        known = bool(np.all(scales > 0))
        order = np.argsort(-(values / scales if known else values), kind="stable")
        chosen = order[: max(1, min(limit, MOST_HITS))]
        found = tuple(_activation(table, int(code.indices[at]), float(values[at])) for at in chosen)
        return Ranking(found, relative=known, active=len(order))

    def scatter(self, dictionary: str) -> Scatter:
        """Density and activation scale of its features, 5,000 at most."""
        return self._shelf(dictionary).scatter()

    def _by_meaning(self, text: str, shelves: list[FeatureShelf], *, limit: int) -> tuple[Hit, ...]:
        hits: list[Hit] = []
        refused: list[NamesaeError] = []
        for shelf in shelves:
            try:
                hits += self._near_meaning(text, shelf, limit=limit)
            except UsageError as error:
                refused.append(error)
        # In all dictionaries, those that cannot be searched so are left out; one alone says why.
        if refused and len(refused) == len(shelves):
            raise refused[0]
        return _ranked(hits, limit)

    def _near_meaning(self, text: str, shelf: FeatureShelf, *, limit: int) -> list[Hit]:
        spec = reader_of(shelf.listed)
        with self._lock:
            kept = self.settings.home / "meanings"
            meanings = self._meanings.setdefault(spec, Meanings(spec, kept))
        table = shelf.table()
        if not table.distinct.names or not text.strip():
            return []
        try:
            cosines = meanings.cosines(text[:200], table.distinct.names)
        except NoTextTower as error:
            raise no_reader(shelf.listed.name) from error
        indices = np.flatnonzero(table.named)
        scores = cosines[table.distinct.codes[indices]].astype(np.float64)
        return shelf.hits(table, Matches(indices, scores), limit=limit)

    def _searched(self, dictionary: str | None) -> list[FeatureShelf]:
        if dictionary is not None:
            return [self._shelf(dictionary)]
        return [self._shelf_of(listed) for listed in self._dictionaries.whole()]

    def _shelf(self, name: str) -> FeatureShelf:
        return self._shelf_of(self._dictionaries.find(name))

    def _shelf_of(self, listed: Listed) -> FeatureShelf:
        with self._lock:
            held = self._shelves.get(listed.name)
            if held is None or held.listed != listed:
                held = FeatureShelf(listed, self.settings, self.state.client)
                self._shelves[listed.name] = held
            return held

    @cached_property
    def _scorers(self) -> ImageScorers:
        return ImageScorers(FileSums(self.state.client))

    def _row_of(self, shelf: FeatureShelf) -> DictionaryRow:
        listed, table = shelf.listed, shelf.table()
        card, answered = listed.card, int(table.answered.sum())
        return DictionaryRow(
            name=listed.name,
            n_features=listed.n_features,
            origin=listed.origin,
            architecture=None if card is None else card.architecture,
            backbone=None if card is None else f"{card.backbone.kind} {Path(card.backbone.source).name}",
            hook_point=None if card is None else card.hook_point,
            named=int(table.named.sum()),
            answered=answered,
            verdicts=table.verdicts(),
            coverage=answered / listed.n_features,
            meaning=may_read(card),
            decoder=listed.folder is not None,
        )


def _by_name(shelf: FeatureShelf, text: str, *, limit: int) -> list[Hit]:
    table, index = shelf.table(), index_in(text)
    hits = shelf.hits(table, table.match(text), limit=limit)
    if index is None or index >= len(table):
        return hits
    return [_itself(shelf, index), *(hit for hit in hits if hit.row.index != index)]


def _has(shelf: FeatureShelf, name: str, index: int) -> bool:
    return shelf.listed.name == name and index < shelf.listed.n_features


def _itself(shelf: FeatureShelf, index: int) -> Hit:
    return Hit(dictionary=shelf.listed.name, row=shelf.table().row(index), score=EQUAL)


def _ranked(hits: list[Hit], limit: int) -> tuple[Hit, ...]:
    # Stable: of one dictionary they come in order, and dictionaries by name.
    def rank(hit: Hit) -> tuple[float, float]:
        return -hit.score, -(hit.row.answer.confidence if hit.row.answer else 0.0)

    return tuple(sorted(hits, key=rank)[:limit])


def _activation(table: Table, index: int, activation: float) -> FeatureActivation:
    row = table.row(index)
    relative = activation / row.scale if row.scale else None
    return FeatureActivation(
        activation=activation,
        relative=relative,
        fires=None if relative is None else relative > FIRES,
        row=row,
    )


def _damaged_row(damaged: Damaged) -> DictionaryRow:
    return DictionaryRow(name=damaged.name, n_features=0, origin="damaged", fault=fault_of(damaged))
