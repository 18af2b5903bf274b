"""Evaluations: run a suite, see its leaderboard, compare two conditions feature by feature."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import PlainTextResponse

from evals.scoreboard import Scoreboard
from namesae.service import api_examples as examples
from namesae.service.api_records import EvalAccepted, EvalList
from namesae.service.api_words import (
    PREFIX,
    EvalId,
    Key,
    Limit,
    Reader,
    Runner,
    Served,
    answers,
    streams,
    strictly,
)
from namesae.service.evaluation_records import Comparison, EvalStatus, Measure
from namesae.service.orders import EvalOrder
from namesae.service.routes_dictionaries import attachment

router = APIRouter(prefix=PREFIX, tags=["evals"])

Condition = Annotated[str, Query(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
Group = Annotated[str, Query(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$")]


@router.post(
    "/evals", status_code=202, responses=answers(examples.EVAL_ACCEPTED, 404, 409, 413, 429, status=202)
)
def start_eval(
    order: Annotated[EvalOrder, strictly(EvalOrder)], service: Served, who: Runner, key: Key = None
) -> EvalAccepted:
    """Run what is missing of a built-in suite; the same id goes on where it stopped."""
    job = service.evaluations.start(order, who=who.name, key=key)
    return EvalAccepted(id=job.id, state=job.state)


@router.get("/evals", responses=answers(examples.EVALS))
def list_evals(service: Served, _: Reader, limit: Limit = 50) -> EvalList:
    """Evaluations, latest first, and the suites that can be run."""
    return EvalList(evals=service.evaluations.list(limit=limit), suites=service.evaluations.suites())


@router.get("/evals/{evaluation}", responses=answers(examples.EVAL, 404, 409))
def get_eval(evaluation: EvalId, service: Served, _: Reader) -> EvalStatus:
    """How an evaluation stands."""
    return service.evaluations.status(evaluation)


@router.post("/evals/{evaluation}/pause", responses=answers(examples.EVAL, 404, 409))
def pause_eval(evaluation: EvalId, service: Served, _: Runner) -> EvalStatus:
    """Stop an evaluation after the cell in progress, to be resumed."""
    service.evaluations.pause(evaluation)
    return service.evaluations.status(evaluation)


@router.post("/evals/{evaluation}/cancel", responses=answers(examples.EVAL, 404, 409))
def cancel_eval(evaluation: EvalId, service: Served, _: Runner) -> EvalStatus:
    """End an evaluation after the cell in progress; what is filled is kept."""
    service.evaluations.cancel(evaluation)
    return service.evaluations.status(evaluation)


@router.post("/evals/{evaluation}/resume", responses=answers(examples.EVAL, 404, 409, 429))
def resume_eval(evaluation: EvalId, service: Served, _: Runner) -> EvalStatus:
    """Go on with a paused or failed evaluation."""
    service.evaluations.resume(evaluation)
    return service.evaluations.status(evaluation)


@router.get("/evals/{evaluation}/scoreboard", responses=answers(None, 404, 409))
def get_scoreboard(evaluation: EvalId, service: Served, _: Reader) -> Scoreboard:
    """Every figure of an evaluation, finished or not, each with its interval."""
    return service.evaluations.board(evaluation)


@router.get(
    "/evals/{evaluation}/leaderboard.csv",
    response_class=PlainTextResponse,
    responses=streams(("text/csv",), 404, 409),
)
def get_leaderboard_csv(
    evaluation: EvalId, service: Served, _: Reader, group: Group = "all"
) -> PlainTextResponse:
    """The leaderboard as CSV, exactly the table that its page shows."""
    text = service.evaluations.csv(evaluation, group=group)
    return PlainTextResponse(text, media_type="text/csv", headers=attachment(f"{evaluation}.csv"))


@router.get("/evals/{evaluation}/comparison", responses=answers(None, 404, 409))
def compare_conditions(
    evaluation: EvalId, service: Served, _: Reader, a: Condition, b: Condition, metric: Measure = "accuracy"
) -> Comparison:
    """One condition less another, paired by feature; each row names the runs of both."""
    return service.evaluations.comparison(evaluation, a, b, metric=metric)


@router.get(
    "/evals/{evaluation}/comparison.csv",
    response_class=PlainTextResponse,
    responses=streams(("text/csv",), 404, 409),
)
def get_comparison_csv(
    evaluation: EvalId, service: Served, _: Reader, a: Condition, b: Condition, metric: Measure = "accuracy"
) -> PlainTextResponse:
    """The same comparison as CSV."""
    text = service.evaluations.comparison_csv(evaluation, a, b, metric=metric)
    return PlainTextResponse(text, media_type="text/csv", headers=attachment(f"{evaluation}-{a}-{b}.csv"))
