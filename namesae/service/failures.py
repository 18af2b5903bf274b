"""What a failed request is answered: a status, a code and one sentence, never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import redis
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from namesae.faults import fault_of
from namesae.reviewing import Decided
from namesae.service.errors import Conflict, NotAllowed, NotFound, QueueFull
from sae.feature import Frozen
from tools.errors import BudgetError, DependencyError, IntegrityError, UsageError

log = logging.getLogger(__name__)

MOST = 400
"""Characters of a sentence."""
RETRY_S = 5
CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    422: "invalid",
    429: "queue_full",
    500: "internal",
    503: "unavailable",
}
STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (Decided, 409),
    (QueueFull, 429),
    (UsageError, 400),
    (BudgetError, 409),
    (DependencyError, 503),
    (IntegrityError, 409),
)
"""A subclass stands before its class."""
BY_EXIT_CODE = {2: 400, 3: 503, 4: 409, 5: 409}
"""For errors that know nothing of requests (``namesae.faults.EXIT_CODES``)."""


class ErrorText(Frozen):
    """What went wrong."""

    code: str = Field(examples=["not_found"])
    """One word a program can go by."""
    message: str = Field(examples=["Run 'sandbox-17-0' does not exist; there is none yet."])
    """One sentence: what, the value, the remedy."""


class ErrorBody(Frozen):
    """The body of every answer that is an error."""

    error: ErrorText


class Failure(NamedTuple):
    """An error as it is answered."""

    status: int
    sentence: str
    headers: dict[str, str]


def failure_of(error: Exception) -> Failure:
    """The answer to a request that raised; an unforeseen error is logged, and its text is not told."""
    if isinstance(error, HTTPException):
        return Failure(error.status_code, _cut(str(error.detail)), dict(error.headers or {}))
    if isinstance(error, RequestValidationError):
        return Failure(422, _invalid(error.errors()), {})
    if isinstance(error, NotAllowed):
        return Failure(error.status, _cut(str(error)), _challenge(error.status))
    if isinstance(error, redis.RedisError):
        return _redis(error)
    status = _status(error)
    if status == 500:
        log.error("A request failed", exc_info=error)
        return Failure(500, "The service made a mistake; its log says which.", {})
    return Failure(status, _cut(fault_of(error).sentence), _retry(error, status))


def error_response(error: Exception) -> JSONResponse:
    """That answer."""
    status, sentence, headers = failure_of(error)
    return sentence_response(status, sentence, headers=headers)


def sentence_response(status: int, sentence: str, *, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error by its status and sentence."""
    body = ErrorBody(error=ErrorText(code=CODES.get(status, "error"), message=sentence))
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors a route may answer with, for its OpenAPI description; those of every route included."""
    every = {400, 401, 403, 422, 503, *statuses}
    return {
        status: {"model": ErrorBody, "description": CODES[status].replace("_", " ").capitalize()}
        for status in sorted(every)
    }


def _status(error: Exception) -> int:
    for kind, status in STATUSES:
        if isinstance(error, kind):
            return status
    fault = fault_of(error)
    return BY_EXIT_CODE.get(fault.exit_code, 400) if fault.expected else 500


def _retry(error: Exception, status: int) -> dict[str, str]:
    if isinstance(error, QueueFull):
        return {"Retry-After": str(error.retry_after_s)}
    return {"Retry-After": str(RETRY_S)} if status == 503 else {}


def _challenge(status: int) -> dict[str, str]:
    return {"WWW-Authenticate": "Bearer"} if status == 401 else {}


def _redis(error: redis.RedisError) -> Failure:
    log.error("Redis failed: %s", error)
    sentence = "The store (Redis) cannot be reached or cannot write; try again, and see namesae doctor."
    return Failure(503, sentence, {"Retry-After": str(RETRY_S)})


def _invalid(faults: Sequence[Any]) -> str:
    """What is wrong with a request, by its first fault."""
    if not faults:
        return "The request cannot be read."
    place = ".".join(str(part) for part in faults[0]["loc"]) or "request"
    reason = str(faults[0]["msg"]).removeprefix("Value error, ").rstrip(".")
    return _cut(f"{place[:100]} is wrong: {reason[:1].lower()}{reason[1:]}.")


def _cut(text: str) -> str:
    # A request may hold half a character (a lone surrogate), which cannot be sent back.
    whole = " ".join(text.encode("utf-8", "replace").decode().split())
    return whole if len(whole) <= MOST else f"{whole[: MOST - 1]}…"
