"""The page of one run: the graph with the live node, pictures as they are drawn, messages, buttons."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError
from starlette.datastructures import FormData

from agent.events import Asked
from agent.records import Proposal
from agent.streaming import settled
from namesae.forking import ForkOrder
from namesae.pages.figures import segment
from namesae.pages.form_reading import fresh_key, key_of, order_from, sentence_of
from namesae.pages.page_route import Access, page_router
from namesae.pages.refusals import form_of, refused, texts_of
from namesae.pages.rendering import environment, render
from namesae.pages.run_graph import graph_svg
from namesae.pages.run_view import RunView, run_view
from namesae.service.errors import NotFound
from tools.errors import NamesaeError, UsageError

if TYPE_CHECKING:
    from namesae.service.service import Service

Form = Annotated[FormData, Depends(form_of)]
PROMPTS = 12
"""That a fork can add."""


def router(service: Service, access: Access) -> APIRouter:
    """/runs/{run}, its live part, its forms and its copies."""
    made = page_router()
    read, run = Depends(access.require("read")), Depends(access.require("run"))
    pages = RunPages(service, access)
    made.get("/runs/{run}", dependencies=[read])(pages.page)
    made.get("/runs/{run}/live", dependencies=[read])(pages.live)
    made.get("/runs/{run}/calls/{number}", dependencies=[read])(pages.call)
    made.get("/runs/{run}/trace.md", dependencies=[read])(pages.markdown)
    made.get("/runs/{run}/trace.json", dependencies=[read])(pages.json)
    made.get("/runs/{run}/trace.html", dependencies=[read])(pages.export)
    made.get("/runs/{run}/fork", dependencies=[run])(pages.fork_form)
    made.post("/runs/{run}/fork", dependencies=[run])(pages.fork)
    made.post("/runs/{run}/{action}", dependencies=[run])(pages.act)
    return made


class RunPages:
    """What the routes of a run answer."""

    def __init__(self, service: Service, access: Access) -> None:
        self.service, self.access = service, access

    def page(self, request: Request, run: str) -> Response:
        """The whole page."""
        return render(request, "run.html.j2", **self._values(request, run))

    def live(self, request: Request, run: str) -> Response:
        """The part that changes; 304 where nothing has since the browser last asked."""
        values = self._values(request, run)
        told = environment().get_template("run_live.html.j2").render(values)
        return unless_known(request, told)

    def call(self, request: Request, run: str, number: int) -> Response:
        """The messages of one exchange with an LLM; by itself, or as a part of the page (?part=1)."""
        events = settled(entry.event for entry in self.service.runs.events(run))
        calls = [event.what.call for event in events if isinstance(event.what, Asked)]
        if not 0 <= number < len(calls):
            raise NotFound(f"Run {run} asked an LLM {len(calls)} times; there is no call {number}.")
        template = "run_call_part.html.j2" if request.query_params.get("part") else "run_call.html.j2"
        return render(request, template, run=run, number=number, call=calls[number])

    def markdown(self, run: str) -> Response:
        """The trace as Markdown."""
        return _file(self.service.runs.markdown(run), run=run, ending="md", media="text/markdown")

    def json(self, run: str) -> Response:
        """The trace as JSON."""
        told = self.service.runs.trace(run).model_dump(mode="json")
        return _file(
            json.dumps(told, ensure_ascii=False, indent=1), run=run, ending="json", media="application/json"
        )

    def export(self, run: str) -> Response:
        """The run as one HTML file that needs nothing else, to be kept."""
        from namesae.trace_html import render_trace

        told = render_trace(self.service.runs.trace(run), self.service.state.images)
        return _file(told, run=run, ending="html", media="text/html", keep=True)

    def act(self, request: Request, run: str, action: str) -> Response:
        """Pause, resume or cancel, then the page again."""
        runs = self.service.runs
        if action == "pause":
            runs.pause(run)
        elif action == "cancel":
            runs.cancel(run)
        elif action == "resume":
            runs.resume(run, who=self.access.principal_of(request).name)
        else:
            raise NotFound(f"There is no way to {action[:40]!r} a run.")
        return RedirectResponse(f"/runs/{segment(run)}", status_code=303)

    def fork_form(self, request: Request, run: str) -> Response:
        """The steps of a run and what can be changed from one of them on."""
        return self._fork_page(request, run, dict(request.query_params))

    def fork(self, request: Request, run: str, form: Form) -> Response:
        """Start the fork and go to its page; what cannot be done is said above the form."""
        lines = [line.strip() for line in str(form.get("prompts", "")).splitlines()]
        try:
            intent = str(form.get("intent", "explore"))
            add = tuple(_proposal(line, intent) for line in lines if line)
            order = order_from(ForkOrder, form, run=run, add=add[:PROMPTS])
            started = self.service.runs.fork(
                order, who=self.access.principal_of(request).name, key=key_of(form)
            )
        except NamesaeError as error:
            return self._fork_page(request, run, texts_of(form), error=error)
        return RedirectResponse(f"/runs/{segment(started.run)}", status_code=303)

    def _fork_page(
        self, request: Request, run: str, given: dict[str, str], *, error: NamesaeError | None = None
    ) -> HTMLResponse:
        status = self.service.runs.status(run)
        told = refused(error)
        return render(
            request,
            "run_fork.html.j2",
            status=told.status,
            run=status,
            steps=[step for step in self.service.runs.trace(run).steps if step.next is not None],
            given=given,
            fault=told.sentence,
            key=fresh_key(),
        )

    def _values(self, request: Request, run: str) -> dict[str, Any]:
        view = self._view(run)
        scope = self.access.principal_of(request).scope
        return {
            "run": view.status,
            "view": view,
            "wide": graph_svg(view.nodes, narrow=False),
            "tall": graph_svg(view.nodes, narrow=True),
            "may_run": scope in ("run", "admin"),
            "latest": view.lines[0].said if view.lines else "",
        }

    def _view(self, run: str) -> RunView:
        status = self.service.runs.status(run)
        row = self.service.state.runs.row(run)
        events = [entry.event for entry in self.service.runs.events(run)]
        told = None if row is None else row.explanation
        waits = row is not None and row.waits and row.question is not None
        if row is not None and row.question is not None and waits:
            told = row.question.explanation
        reviewed = row is not None and row.request.settings.review
        return run_view(status, events, told=told, reviewed=reviewed, now=time.time())


def _proposal(prompt: str, intent: str) -> Proposal:
    try:
        return Proposal.model_validate({"prompt": prompt, "intent": intent})
    except ValidationError as error:
        raise UsageError(sentence_of(error)) from error


def unless_known(request: Request, text: str) -> Response:
    """A part of a page; 304 where the browser has the same."""
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return HTMLResponse(text, headers=headers)


def _file(text: str, *, run: str, ending: str, media: str, keep: bool = False) -> Response:
    """A text to read or to keep. A whole page is only kept: this site's policy would not show it."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in run)
    way = "attachment" if keep else "inline"
    headers = {"Content-Disposition": f'{way}; filename="{safe}.{ending}"'}
    return Response(text, media_type=media, headers=headers)
