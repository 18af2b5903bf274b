"""Batches: a list with a form, and the page of one with its progress, verdicts, table and shared names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from agent.collisions import shared_names
from namesae.pages.figures import segment
from namesae.pages.form_reading import fresh_key, key_of, order_from
from namesae.pages.page_route import Access, page_router
from namesae.pages.refusals import form_of, refused, texts_of
from namesae.pages.rendering import environment, render
from namesae.pages.run_page import unless_known
from namesae.pages.verdict_words import Slice, slices
from namesae.service.errors import NotFound
from namesae.service.orders import BatchOrder
from tools.errors import NamesaeError

if TYPE_CHECKING:
    from namesae.batch_records import BatchRow
    from namesae.service.batches import BatchStatus
    from namesae.service.service import Service

ROWS = 200
"""Of the table at once."""
MOST_ROWS = 5_000
"""In which names that several features share are looked for."""
Form = Annotated[FormData, Depends(form_of)]


class Shared(NamedTuple):
    """A name that several features of a batch were given."""

    name: str
    features: tuple[int, ...]


class BatchLine(NamedTuple):
    """A batch in a list."""

    batch: BatchStatus
    slices: tuple[Slice, ...]


def router(service: Service, access: Access) -> APIRouter:
    """/batches and /batches/{batch}."""
    made = page_router()
    read, run = Depends(access.require("read")), Depends(access.require("run"))
    pages = BatchPages(service, access)
    made.get("/batches", dependencies=[read])(pages.batches)
    made.post("/batches", dependencies=[run])(pages.start)
    made.get("/batches/{batch}", dependencies=[read])(pages.page)
    made.get("/batches/{batch}/live", dependencies=[read])(pages.live)
    made.post("/batches/{batch}/{action}", dependencies=[run])(pages.act)
    return made


class BatchPages:
    """What the routes of batches answer."""

    def __init__(self, service: Service, access: Access) -> None:
        self.service, self.access = service, access

    def batches(self, request: Request) -> HTMLResponse:
        """The batches started last."""
        return self._list(request, dict(request.query_params))

    def start(self, request: Request, form: Form) -> Response:
        """Start a batch and go to its page; what cannot be done is said above the form."""
        try:
            order = order_from(BatchOrder, form)
            who = self.access.principal_of(request).name
            started = self.service.batches.start(order, who=who, key=key_of(form))
        except NamesaeError as error:
            return self._list(request, texts_of(form), error=error)
        return RedirectResponse(f"/batches/{segment(started.id)}", status_code=303)

    def page(self, request: Request, batch: str, after: Annotated[int, Query(ge=-1)] = -1) -> HTMLResponse:
        """One batch."""
        return render(request, "batch.html.j2", **self._values(request, batch, after))

    def live(self, request: Request, batch: str, after: Annotated[int, Query(ge=-1)] = -1) -> Response:
        """The part that changes; 304 where nothing has since the browser last asked."""
        told = environment().get_template("batch_live.html.j2").render(self._values(request, batch, after))
        return unless_known(request, told)

    def act(self, request: Request, batch: str, action: str) -> Response:
        """Pause, resume or cancel, then the page again."""
        batches = self.service.batches
        if action == "pause":
            batches.pause(batch)
        elif action == "cancel":
            batches.cancel(batch)
        elif action == "resume":
            batches.resume(batch, who=self.access.principal_of(request).name)
        else:
            raise NotFound(f"There is no way to {action[:40]!r} a batch.")
        return RedirectResponse(f"/batches/{segment(batch)}", status_code=303)

    def _list(
        self, request: Request, given: dict[str, str], *, error: NamesaeError | None = None
    ) -> HTMLResponse:
        told = refused(error)
        found = self.service.batches.list(limit=100)
        return render(
            request,
            "batches.html.j2",
            status=told.status,
            batches=[BatchLine(each, _slices(each)) for each in found],
            dictionaries=[each.name for each in self.service.features.dictionaries() if each.fault is None],
            given=given,
            fault=told.sentence,
            key=fresh_key(),
            live=any(each.state in ("queued", "running") for each in found),
        )

    def _values(self, request: Request, batch: str, after: int) -> dict[str, Any]:
        status = self.service.batches.get(batch)
        rows = self.service.batches.rows(batch, after=after, limit=ROWS)
        whole = after < 0 and len(rows) < ROWS
        looked = rows if whole else self.service.batches.rows(batch, limit=MOST_ROWS)
        return {
            "batch": status,
            "dictionary": status.selection.partition("#")[0],
            "slices": _slices(status),
            "rows": rows,
            "after": after,
            "next": rows[-1].index if len(rows) == ROWS else None,
            "shared": shared(looked),
            "may_run": self.access.principal_of(request).scope in ("run", "admin"),
        }


def shared(rows: tuple[BatchRow, ...]) -> tuple[Shared, ...]:
    """The names that met the bar and were given to several features, the most shared first."""
    named = [(row.index, row.name) for row in rows if row.put_forward and row.name is not None]
    found = [Shared(name, features) for name, features in shared_names(named).items()]
    return tuple(sorted(found, key=lambda each: (-len(each.features), each.name)))


def _slices(batch: BatchStatus) -> tuple[Slice, ...]:
    return slices(batch.verdicts.items(), max(batch.asked, batch.done, 1))
