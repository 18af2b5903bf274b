"""The list of runs, latest first, with a form that names a feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from namesae.pages.figures import segment
from namesae.pages.form_reading import fresh_key, key_of, order_from
from namesae.pages.page_route import Access, page_router
from namesae.pages.refusals import form_of, refused, texts_of
from namesae.pages.rendering import render
from namesae.service.orders import NameOrder
from tools.errors import NamesaeError, UsageError

if TYPE_CHECKING:
    from namesae.service.job_records import RunStatus
    from namesae.service.service import Service

PAGE = 50
STATES = ("running", "queued", "waiting", "paused", "stopped", "ended", "failed", "cancelled")
Form = Annotated[FormData, Depends(form_of)]


def router(service: Service, access: Access) -> APIRouter:
    """/runs."""
    made = page_router()

    @made.get("/runs", dependencies=[Depends(access.require("read"))])
    def runs(
        request: Request,
        state: str = "",
        dictionary: Annotated[str, Query(max_length=200)] = "",
        before: float | None = None,
    ) -> HTMLResponse:
        """The runs of one state and dictionary, or of all."""
        return _page(request, service, texts_of_query(state, dictionary), before=before)

    @made.post("/runs", dependencies=[Depends(access.require("run"))])
    def name(request: Request, form: Form) -> Response:
        """Name a feature and go to its run; what cannot be done is said above the form."""
        try:
            feature = f"{form.get('dictionary', '')}#{str(form.get('index', '')).strip()}"
            order = order_from(NameOrder, form, feature=feature)
            who = access.principal_of(request).name
            started = service.runs.start(order, who=who, key=key_of(form))
        except NamesaeError as error:
            return _page(request, service, {}, given=texts_of(form), error=error)
        return RedirectResponse(f"/runs/{segment(started.run)}", status_code=303)

    return made


def texts_of_query(state: str, dictionary: str) -> dict[str, str]:
    """The filters that are set. UsageError for a state there is not."""
    if state and state not in STATES:
        raise UsageError(f"There is no state {state[:20]!r}; there are {', '.join(STATES)}.")
    return {name: text for name, text in (("state", state), ("dictionary", dictionary)) if text}


def _page(
    request: Request,
    service: Service,
    filters: dict[str, str],
    *,
    before: float | None = None,
    given: dict[str, str] | None = None,
    error: NamesaeError | None = None,
) -> HTMLResponse:
    told = refused(error)
    found = service.runs.list(
        state=filters.get("state"), dictionary=filters.get("dictionary"), limit=PAGE, before=before
    )
    dictionaries = [each.name for each in service.features.dictionaries() if each.fault is None]
    return render(
        request,
        "runs.html.j2",
        status=told.status,
        runs=found,
        filters=filters,
        states=STATES,
        dictionaries=dictionaries,
        given=given or {},
        fault=told.sentence,
        key=fresh_key(),
        older=_older(found, filters),
        live=any(each.state in ("queued", "running") for each in found),
    )


def _older(found: tuple[RunStatus, ...], filters: dict[str, str]) -> str | None:
    """The page after this one; None where this one is not full."""
    if len(found) < PAGE:
        return None
    return "/runs?" + urlencode({**filters, "before": repr(found[-1].started)})
