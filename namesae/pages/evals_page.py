"""Evaluations: the list, the leaderboard of one, and what a condition said of a feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from evals.table import csv_text
from namesae.pages.evals_view import FILTERS, board_view, cell_view
from namesae.pages.figures import segment
from namesae.pages.form_reading import fresh_key, key_of, order_from
from namesae.pages.page_route import Access, page_router
from namesae.pages.refusals import form_of, refused, texts_of
from namesae.pages.rendering import environment, render
from namesae.service.comparisons import SHOWN, comparison_table, shown_rows
from namesae.service.errors import NotFound
from namesae.service.evaluation_records import Measure
from namesae.service.orders import EvalOrder
from sae.feature import Feature
from tools.errors import NamesaeError, UsageError

if TYPE_CHECKING:
    from namesae.service.service import Service

Form = Annotated[FormData, Depends(form_of)]
Text = Annotated[str, Query(max_length=200)]
REPORT = "report.html"
CONDITIONS = 30
"""That an order can name."""


def router(service: Service, access: Access) -> APIRouter:
    """/evals, an evaluation, its tables, its cells and its comparisons."""
    made = page_router()
    environment().filters.update(FILTERS)
    read, run = Depends(access.require("read")), Depends(access.require("run"))
    pages = EvalPages(service, access)
    made.get("/evals", dependencies=[read])(pages.evals)
    made.post("/evals", dependencies=[run])(pages.start)
    made.get("/evals/{evaluation}", dependencies=[read])(pages.page)
    made.get("/evals/{evaluation}/leaderboard.csv", dependencies=[read])(pages.leaderboard_csv)
    made.get("/evals/{evaluation}/features.csv", dependencies=[read])(pages.features_csv)
    made.get("/evals/{evaluation}/report.html", dependencies=[read])(pages.report)
    made.get("/evals/{evaluation}/cell", dependencies=[read])(pages.cell)
    made.get("/evals/{evaluation}/compare", dependencies=[read])(pages.compare)
    made.get("/evals/{evaluation}/compare.csv", dependencies=[read])(pages.compare_csv)
    made.post("/evals/{evaluation}/{action}", dependencies=[run])(pages.act)
    return made


class EvalPages:
    """What the routes of evaluations answer."""

    def __init__(self, service: Service, access: Access) -> None:
        self.service, self.access = service, access

    def evals(self, request: Request) -> HTMLResponse:
        """All evaluations, latest first."""
        return self._list(request, {})

    def start(self, request: Request, form: Form) -> Response:
        """Start an evaluation and go to its page; what cannot be done is said above the form."""
        try:
            chosen = tuple(str(each) for each in form.getlist("condition"))[:CONDITIONS]
            order = order_from(EvalOrder, form, conditions=chosen)
            who = self.access.principal_of(request).name
            job = self.service.evaluations.start(order, who=who, key=key_of(form))
        except NamesaeError as error:
            return self._list(request, texts_of(form), error=error)
        return RedirectResponse(f"/evals/{segment(job.id)}", status_code=303)

    def page(self, request: Request, evaluation: str, group: Text = "all", flag: Text = "") -> HTMLResponse:
        """The leaderboard, the differences and every feature; how far it is where there is no cell yet."""
        status = self.service.evaluations.status(evaluation)
        values: dict[str, Any] = {"eval": status, "group": group, "flag": flag, "view": None}
        if status.cells:
            values["view"] = board_view(self.service.evaluations, evaluation, group=group, flag=flag)
        values["has_report"] = (self.service.evaluations.folder(evaluation) / REPORT).is_file()
        values["may_run"] = self.access.principal_of(request).scope in ("run", "admin")
        return render(request, "eval.html.j2", **values)

    def leaderboard_csv(self, evaluation: str, group: Text = "all") -> Response:
        """The leaderboard as it is shown."""
        return csv_file(self.service.evaluations.csv(evaluation, group=group), f"{evaluation}-leaderboard")

    def features_csv(self, evaluation: str, flag: Text = "") -> Response:
        """The table of features as it is shown."""
        view = board_view(self.service.evaluations, evaluation, group="all", flag=flag)
        return csv_file(csv_text(view.features), f"{evaluation}-features")

    def report(self, evaluation: str) -> Response:
        """The report as one HTML file, to be kept."""
        path = self.service.evaluations.folder(evaluation) / REPORT
        if not path.is_file():
            raise NotFound(f"The report of evaluation {evaluation} is written when it ends.")
        return FileResponse(path, filename=f"{evaluation}-report.html", media_type="text/html")

    def cell(self, request: Request, evaluation: str, condition: Text, feature: Text) -> HTMLResponse:
        """What one condition said of one feature, and how it came to it."""
        cell = self.service.evaluations.cell(evaluation, condition, parse_feature(feature))
        return render(request, "eval_cell.html.j2", evaluation=evaluation, view=cell_view(cell))

    def compare(
        self,
        request: Request,
        evaluation: str,
        a: Text,
        b: Text,
        metric: Text = "accuracy",
        show: Text = "all",
    ) -> HTMLResponse:
        """Two conditions on the same features; each line opens both sides."""
        evaluations = self.service.evaluations
        told = evaluations.comparison(evaluation, a, b, metric=measure_of(metric))
        cells = {(cell.condition, cell.feature): cell for cell in evaluations.cells(evaluation)}
        rows = shown_rows(told, show=show)
        opened = [
            (cell_view(cells[(told.a, row.feature)]), cell_view(cells[(told.b, row.feature)])) for row in rows
        ]
        table = comparison_table(told, show=show)
        return render(
            request,
            "eval_compare.html.j2",
            eval=evaluations.status(evaluation),
            told=told,
            table=table,
            lines=tuple(zip(table.lines, rows, opened, strict=True)),
            titles=_titles(self.service, evaluation),
            measures=get_args(Measure),
            shown=SHOWN,
            show=show,
        )

    def compare_csv(
        self, evaluation: str, a: Text, b: Text, metric: Text = "accuracy", show: Text = "all"
    ) -> Response:
        """Exactly the table that is on the screen."""
        told = self.service.evaluations.comparison_csv(evaluation, a, b, metric=measure_of(metric), show=show)
        return csv_file(told, f"{evaluation}-{a}-{b}")

    def act(self, evaluation: str, action: str) -> Response:
        """Pause, resume or cancel, then the page again."""
        ways = {
            "pause": self.service.evaluations.pause,
            "cancel": self.service.evaluations.cancel,
            "resume": self.service.evaluations.resume,
        }
        if action not in ways:
            raise NotFound(f"There is no way to {action[:40]!r} an evaluation.")
        ways[action](evaluation)
        return RedirectResponse(f"/evals/{segment(evaluation)}", status_code=303)

    def _list(
        self, request: Request, given: dict[str, str], *, error: NamesaeError | None = None
    ) -> HTMLResponse:
        told = refused(error)
        found = self.service.evaluations.list()
        return render(
            request,
            "evals.html.j2",
            status=told.status,
            evals=found,
            suites=self.service.evaluations.suites(),
            given=given,
            fault=told.sentence,
            key=fresh_key(),
            live=any(each.state in ("queued", "running") for each in found),
        )


def measure_of(text: str) -> Measure:
    """A measure by its name. UsageError."""
    for measure in get_args(Measure):
        if measure == text:
            found: Measure = measure
            return found
    raise UsageError(f"Measure {text[:40]!r} does not exist; there are {', '.join(get_args(Measure))}.")


def parse_feature(text: str) -> Feature:
    """DICTIONARY#INDEX. UsageError."""
    dictionary, _, index = text.rpartition("#")
    if not dictionary or not (index.isascii() and index.isdecimal() and len(index) < 8):
        raise UsageError(f"{text[:60]!r} is no feature; write DICTIONARY#INDEX.")
    return Feature(dictionary=dictionary, index=int(index))


def csv_file(text: str, name: str) -> Response:
    """A table to keep."""
    safe = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "-" for letter in name
    )
    headers = {"Content-Disposition": f'attachment; filename="{safe}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def _titles(service: Service, evaluation: str) -> dict[str, str]:
    return {cell.condition: cell.title for cell in service.evaluations.cells(evaluation)}
