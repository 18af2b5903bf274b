"""Search over all dictionaries: by name, by meaning, or by a feature's own number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

from fastapi import Depends, Request, Response
from starlette.responses import RedirectResponse

from namesae.pages.page_route import Access, page_router
from namesae.pages.rendering import is_fragment, render
from namesae.service.errors import NotFound
from namesae.service.feature_query import Hit
from tools.errors import UsageError

if TYPE_CHECKING:
    from fastapi import APIRouter

    from namesae.service.service import Service

MOST, LONGEST = 100, 200
_FEATURE = re.compile(r"(?P<dictionary>[^#]{1,100})#(?P<index>\d{1,7})")


class Found(NamedTuple):
    """What a search came to."""

    hits: tuple[Hit, ...] = ()
    fault: str = ""


def router(service: Service, access: Access) -> APIRouter:
    """``/search``."""
    made = page_router()

    @made.get("/search", dependencies=[Depends(access.require("read"))])
    def search(
        request: Request, q: str = "", by: Literal["name", "meaning"] = "name", dictionary: str = ""
    ) -> Response:
        text = " ".join(q.split())[:LONGEST]
        place = None if is_fragment(request) else _feature(service, text)
        if place is not None:
            return RedirectResponse(place, status_code=303)
        found = _search(service, text, dictionary=dictionary or None, by=by)
        told: dict[str, Any] = {"q": text, "by": by, "chosen": dictionary, "found": found, "most": MOST}
        if is_fragment(request):
            return render(request, "hits.html.j2", **told)
        return render(request, "search.html.j2", dictionaries=service.features.dictionaries(), **told)

    return made


def _search(service: Service, text: str, *, dictionary: str | None, by: Literal["name", "meaning"]) -> Found:
    if not text:
        return Found()
    try:
        return Found(service.features.search(text, dictionary=dictionary, by=by, limit=MOST))
    except UsageError as error:
        return Found(fault=str(error))


def _feature(service: Service, text: str) -> str | None:
    """Where DICTIONARY#INDEX is; None where the text is no feature."""
    wanted = _FEATURE.fullmatch(text)
    if wanted is None:
        return None
    try:
        row = service.features.row(wanted["dictionary"], int(wanted["index"]))
    except NotFound:
        return None
    return f"/d/{quote(wanted['dictionary'], safe='')}/{row.index}"
