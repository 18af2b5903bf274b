"""Runs: start a naming, see how it stands, stop it, go on, fork it, rule on its name, read its trace."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from agent.records import Proposal
from namesae.forking import ForkOrder
from namesae.service import api_examples as examples
from namesae.service.api_records import EventEntry, EventPage, ForkRequest, RulingRequest, RunPage
from namesae.service.api_words import (
    PREFIX,
    AnyDictionary,
    Key,
    Limit,
    Reader,
    RunId,
    Runner,
    Served,
    answers,
    streams,
    strictly,
)
from namesae.service.job_records import RunStatus
from namesae.service.orders import NameOrder, RuleOrder
from namesae.service.routes_dictionaries import attachment
from namesae.traces import Trace

router = APIRouter(prefix=PREFIX, tags=["runs"])

RunState = Annotated[
    str | None, Query(pattern="^(queued|running|waiting|paused|ended|failed|cancelled|stopped)$")
]
OfFeature = Annotated[
    str | None,
    Query(min_length=3, max_length=200, pattern=r"^[^#\x00-\x1f\x7f]+#[0-9]{1,7}$", examples=["sandbox#17"]),
]
Before = Annotated[
    float | None, Query(ge=0, le=1e11, allow_inf_nan=False, description="`next` of the page before.")
]
After = Annotated[
    str, Query(pattern=r"^[0-9]{1,19}(-[0-9]{1,19})?$", description="Id of the last event that is known.")
]
STORED: dict[int | str, dict[str, Any]] = {
    200: {"model": RunStatus, "description": "The stored answer to an equal order."}
}
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
"""Of the one-file page: it holds its own style and pictures, and no script."""


@router.post(
    "/runs",
    status_code=202,
    responses=STORED | answers(examples.RUN, 404, 409, 413, 429, status=202),
)
def start_run(
    order: Annotated[NameOrder, strictly(NameOrder)],
    service: Served,
    who: Runner,
    response: Response,
    key: Key = None,
) -> RunStatus:
    """Name a feature within a budget: the stored answer to an equal order (200), else a run (202)."""
    return _accepted(service.runs.start(order, who=who.name, key=key), response)


@router.get("/runs", responses=answers(examples.RUNS, 404))
def list_runs(
    service: Served,
    _: Reader,
    dictionary: AnyDictionary = None,
    feature: OfFeature = None,
    state: RunState = None,
    cursor: Before = None,
    limit: Limit = 50,
) -> RunPage:
    """Runs, whoever started them, latest first."""
    found = service.runs.list(dictionary=dictionary, feature=feature, state=state, limit=limit, before=cursor)
    return RunPage(runs=found, next=found[-1].started if len(found) == limit else None)


@router.get("/runs/{run}", responses=answers(examples.RUN, 404, 409))
def get_run(run: RunId, service: Served, _: Reader) -> RunStatus:
    """How a run stands."""
    return service.runs.status(run)


@router.post("/runs/{run}/pause", responses=answers(examples.RUN, 404, 409))
def pause_run(run: RunId, service: Served, _: Runner) -> RunStatus:
    """Stop a run after the step in progress, to be resumed."""
    return service.runs.pause(run)


@router.post("/runs/{run}/cancel", responses=answers(examples.RUN, 404, 409))
def cancel_run(run: RunId, service: Served, _: Runner) -> RunStatus:
    """End a run after the step in progress; what was recorded is kept."""
    return service.runs.cancel(run)


@router.post("/runs/{run}/resume", responses=answers(examples.RUN, 404, 409, 429))
def resume_run(run: RunId, service: Served, who: Runner) -> RunStatus:
    """Go on with a paused, failed or stopped run."""
    return service.runs.resume(run, who=who.name)


@router.post(
    "/runs/{run}/fork",
    status_code=202,
    responses=STORED | answers(examples.RUN, 404, 409, 413, 429, status=202),
)
def fork_run(
    run: RunId,
    order: Annotated[ForkRequest, strictly(ForkRequest)],
    service: Served,
    who: Runner,
    response: Response,
    key: Key = None,
) -> RunStatus:
    """Start a run from a step of another, with other settings or prompts."""
    asked = order.model_dump(exclude={"add"})
    added = tuple(Proposal(**each.model_dump()) for each in order.add)
    fork = ForkOrder(run=run, add=added, **asked)
    return _accepted(service.runs.fork(fork, who=who.name, key=key), response)


@router.post(
    "/runs/{run}/review", status_code=202, responses=answers(examples.RUN, 404, 409, 413, 429, status=202)
)
def review_run(
    run: RunId, ruling: Annotated[RulingRequest, strictly(RulingRequest)], service: Served, who: Runner
) -> RunStatus:
    """Rule on the name that waits: accept it, reject it, or have another one tested in its place."""
    return service.runs.rule(RuleOrder(run=run, **ruling.model_dump()), who=who.name)


@router.get("/runs/{run}/log", responses=answers(examples.EVENTS, 404, 409))
def list_events(run: RunId, service: Served, _: Reader, after: After = "0", limit: Limit = 100) -> EventPage:
    """Events of a run, oldest first; as they happen they are at /runs/{run}/events."""
    entries = service.runs.events(run, after=after)[:limit]
    told = tuple(EventEntry(id=each.id, event=each.event) for each in entries)
    return EventPage(events=told, next=told[-1].id if told else None)


@router.get("/runs/{run}/trace", responses=answers(examples.TRACE, 404, 409))
def get_trace(run: RunId, service: Served, _: Reader) -> Trace:
    """How the name was found, or is being found: prompts, images, activations, rivals, every LLM message."""
    return service.runs.trace(run)


@router.get(
    "/runs/{run}/trace.md",
    response_class=PlainTextResponse,
    responses=streams(("text/markdown",), 404, 409),
)
def get_trace_markdown(run: RunId, service: Served, _: Reader) -> PlainTextResponse:
    """The trace as Markdown."""
    return PlainTextResponse(service.runs.markdown(run), media_type="text/markdown")


@router.get(
    "/runs/{run}/trace.html", response_class=HTMLResponse, responses=streams(("text/html",), 404, 409)
)
def get_trace_html(run: RunId, service: Served, _: Reader) -> HTMLResponse:
    """The trace as one file with its pictures in it, which needs nothing else and runs no script."""
    from namesae.trace_html import render_trace

    trace = service.runs.trace(run)
    headers = {"Content-Security-Policy": PAGE_POLICY, **attachment(f"{trace.run}.html")}
    return HTMLResponse(render_trace(trace, service.state.images), headers=headers)


def _accepted(status: RunStatus, response: Response) -> RunStatus:
    response.status_code = 200 if status.stored else 202
    return status
