"""The first page: every dictionary, and how far it is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fastapi import Depends, Request, Response

from namesae.pages.page_route import Access, page_router
from namesae.pages.rendering import render
from namesae.pages.verdict_words import Slice, slices
from namesae.service.feature_query import DictionaryRow, FeatureQuery, GridRow

if TYPE_CHECKING:
    from fastapi import APIRouter

    from namesae.service.service import Service

SHOWN = 8
"""Features of a dictionary whose pictures stand on its card."""


class Card(NamedTuple):
    """A dictionary on the first page."""

    row: DictionaryRow
    slices: tuple[Slice, ...]
    best: tuple[GridRow, ...]
    """The features that are named best, for their pictures."""


def router(service: Service, access: Access) -> APIRouter:
    """``/``."""
    made = page_router()

    @made.get("/", dependencies=[Depends(access.require("read"))])
    def home(request: Request) -> Response:
        rows = sorted(service.features.dictionaries(), key=lambda row: (-row.answered, row.name))
        cards = tuple(_card(service, row) for row in rows)
        return render(request, "home.html.j2", cards=cards)

    return made


def _card(service: Service, row: DictionaryRow) -> Card:
    best: tuple[GridRow, ...] = ()
    if row.named:
        query = FeatureQuery(which="named", sort="auroc", descending=True, limit=SHOWN)
        best = service.features.rows(row.name, query).rows
    return Card(row, verdict_slices(row), best)


def verdict_slices(row: DictionaryRow) -> tuple[Slice, ...]:
    """The verdict bar of a dictionary."""
    return slices(((each.verdict, each.count) for each in row.verdicts), row.n_features)
