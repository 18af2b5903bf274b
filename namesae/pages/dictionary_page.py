"""A dictionary: the grid of its features, their scatter, its coverage, and a form that names many of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import quote, urlencode

from fastapi import Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.datastructures import FormData

from namesae.pages.form_reading import fresh_key, go_to, key_of, order_from, sentence_of
from namesae.pages.home_page import verdict_slices
from namesae.pages.page_route import Access, page_router
from namesae.pages.refusals import form_of
from namesae.pages.rendering import is_fragment, render
from namesae.pages.verdict_words import MEANINGS, VERDICTS
from namesae.service.feature_query import FeatureQuery, ScatterPoint
from namesae.service.orders import BatchOrder
from tools.errors import UsageError

if TYPE_CHECKING:
    from fastapi import APIRouter

    from namesae.service.service import Service

BLOCK = 50
"""Rows of a page, and of each block that scrolling fetches."""
Form = Annotated[FormData, Depends(form_of)]


class Column(NamedTuple):
    """A column of the grid."""

    word: str
    sort: str | None
    """What its head sorts by; None where it does not."""
    kind: str
    """CSS class."""
    falls: bool = True
    """Whether the first press sorts downwards."""


COLUMNS = (
    Column("Feature", "index", "c-feature", False),
    Column("Verdict", None, "c-verdict"),
    Column("Sealed AUROC, .5 to 1", "auroc", "c-auroc"),
    Column("Fires on drawn", None, "c-rate n"),
    Column("Confidence", "confidence", "c-sure n"),
    Column("Density", "density", "c-density n"),
    Column("99th pct.", None, "c-scale n"),
)


class Decade(NamedTuple):
    """Features whose density lies in one band: the scatter plot in words."""

    low: float
    high: float
    features: int
    answered: int
    middle: float
    """Median activation scale."""


class Asked(NamedTuple):
    """The query of a grid and how to ask for other parts of it."""

    query: FeatureQuery
    dictionary: str

    def url(self, part: str = "", **changes: object) -> str:
        """The grid with some of the query replaced; parts: '' is the page, '/rows' its rows alone."""
        query = self.query
        held = query.model_dump(exclude={"limit"}, exclude_defaults=True)
        told = {"sort": query.sort, "descending": query.descending, **held, **changes}
        pairs = [(name, each) for name, value in told.items() for each in _texts(value)]
        path = f"/d/{quote(self.dictionary, safe='')}{part}"
        return f"{path}?{urlencode(pairs)}" if pairs else path

    def sorted_by(self, column: Column) -> str:
        """Where a press on a column's head leads."""
        again = self.query.sort == column.sort
        falls = not self.query.descending if again else column.falls
        return self.url(sort=column.sort, descending=falls, cursor=0)


def query(
    text: str = "",
    verdict: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
    min_auroc: str = "",
    which: str = "all",
    sort: str = "auroc",
    descending: bool = True,
    cursor: int = 0,
) -> FeatureQuery:
    """The query of a grid from its URL, the best names first; UsageError."""
    told: dict[str, Any] = {
        "text": text.strip(),
        "verdict": tuple(verdict),
        "min_auroc": min_auroc or None,
        "which": which,
    }
    told |= {"sort": sort, "descending": descending, "cursor": cursor, "limit": BLOCK}
    try:
        return FeatureQuery.model_validate(told)
    except ValidationError as error:
        raise UsageError(sentence_of(error)) from error


Asking = Annotated[FeatureQuery, Depends(query)]


class DictionaryPages:
    """What the routes of a dictionary answer."""

    def __init__(self, service: Service, access: Access) -> None:
        self.service, self.access = service, access

    def page(self, request: Request, name: str, asked: Asking) -> Response:
        """The whole page, or the grid alone for HTMX."""
        service = self.service
        row, page = service.features.dictionary(name), service.features.rows(name, asked)
        grid: dict[str, Any] = {"row": row, "page": page, "asked": Asked(asked, name), "columns": COLUMNS}
        if is_fragment(request):
            return render(request, "grid.html.j2", **grid)
        return render(
            request,
            "dictionary.html.j2",
            **grid,
            settings=service.settings,
            slices=verdict_slices(row),
            verdicts=VERDICTS,
            meanings=MEANINGS,
            key=fresh_key(),
        )

    def rows(self, request: Request, name: str, asked: Asking) -> Response:
        """Rows of the grid, for those that scroll."""
        page = self.service.features.rows(name, asked)
        return render(request, "grid_rows.html.j2", page=page, asked=Asked(asked, name))

    def scatter(self, name: str) -> Response:
        """The points as JSON: index, density, scale, verdict."""
        found = self.service.features.scatter(name)
        points = [[each.index, each.density, each.scale, each.verdict] for each in found.points]
        return JSONResponse({"total": found.total, "points": points})

    def densities(self, request: Request, name: str) -> Response:
        """The scatter plot as a table."""
        found = self.service.features.scatter(name)
        bands, points = decades(found.points), len(found.points)
        return render(
            request, "densities.html.j2", name=name, decades=bands, total=found.total, points=points
        )

    def batch(self, request: Request, name: str, given: Form) -> Response:
        """Start a batch and lead to its page."""
        selection = f"{name}#{str(given.get('features', '')).strip()}"
        order = order_from(BatchOrder, given, selection=selection)
        who = self.access.principal_of(request).name
        started = self.service.batches.start(order, who=who, key=key_of(given))
        return go_to(request, f"/batches/{quote(started.id, safe='')}")


def router(service: Service, access: Access) -> APIRouter:
    """``/d/NAME`` and its parts."""
    made, pages = page_router(), DictionaryPages(service, access)
    read, run = [Depends(access.require("read"))], [Depends(access.require("run"))]
    made.get("/d/{name}", dependencies=read)(pages.page)
    made.get("/d/{name}/rows", dependencies=read)(pages.rows)
    made.get("/d/{name}/scatter", dependencies=read)(pages.scatter)
    made.get("/d/{name}/densities", dependencies=read)(pages.densities)
    made.post("/d/{name}/batch", dependencies=run)(pages.batch)
    return made


def decades(points: Iterable[ScatterPoint]) -> tuple[Decade, ...]:
    """The points in half-decades of density, the densest first."""
    bands: dict[int, list[ScatterPoint]] = {}
    for point in points:
        if point.density > 0:
            bands.setdefault(math.floor(2 * math.log10(point.density) - 1e-9), []).append(point)
    return tuple(_decade(band, bands[band]) for band in sorted(bands, reverse=True))


def _decade(band: int, points: Sequence[ScatterPoint]) -> Decade:
    scales = sorted(point.scale for point in points)
    answered = sum(point.verdict is not None for point in points)
    return Decade(10 ** (band / 2), 10 ** ((band + 1) / 2), len(points), answered, scales[len(scales) // 2])


def _texts(value: object) -> list[str]:
    if isinstance(value, tuple):
        return [str(each) for each in value]
    if isinstance(value, bool):
        return ["true"] if value else ["false"]
    return [] if value is None else [str(value)]
