"""What the routes of the API have in common: parameters with their bounds, pages, who asks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query
from pydantic import BeforeValidator, ValidationError
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from namesae.service.access import require
from namesae.service.failures import declared
from namesae.service.service import Service
from namesae.service.tokens import Principal
from sae.feature import Frozen

PREFIX = "/api/v1"
ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
MOST_INDEX = 9_999_999

DictionaryName = Annotated[
    str, Path(min_length=1, max_length=100, pattern=r"^[^/\x00-\x1f\x7f]+$", examples=["sandbox"])
]
Index = Annotated[int, Path(ge=0, le=MOST_INDEX, examples=[17])]
RunId = Annotated[
    str,
    Path(
        min_length=1,
        max_length=200,
        pattern=r"^[\w][\w.#=+-]*$",
        examples=["sandbox-17-0f3c5a7be1d2-0"],
    ),
]
BatchId = Annotated[
    str, Path(min_length=1, max_length=200, pattern=r"^[\w][\w.#=+-]*$", examples=["b-3f2a91c07d5e"])
]
EvalId = Annotated[
    str, Path(min_length=1, max_length=200, pattern=r"^[\w][\w.#=+-]*$", examples=["sandbox-quick"])
]
AnyDictionary = Annotated[
    str | None, Query(min_length=1, max_length=100, pattern=ONE_LINE, description="None means all.")
]
Limit = Annotated[int, Query(ge=1, le=200, description="Entries of a page.")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="The same key with the same body is the same order, for 24 hours.",
    ),
]
Reader = Annotated[Principal, Depends(require("read"))]
Runner = Annotated[Principal, Depends(require("run"))]
Ruler = Annotated[Principal, Depends(require("admin"))]


def _number(text: str) -> float:
    """JSON does not tell 5.0 from 5."""
    value = float(text)
    return int(value) if value.is_integer() else value


def strictly(kind: type[Frozen]) -> BeforeValidator:
    """A body exactly as described: no ``true`` for a number, no ``"1"`` for one."""

    def read(given: object) -> object:
        if not isinstance(given, dict):
            return given
        try:
            whole = json.loads(json.dumps(given), parse_float=_number)
            return kind.model_validate_json(json.dumps(whole), strict=True)
        except RecursionError:
            return given
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            told = {"place": ".".join(str(part) for part in fault["loc"]), "reason": fault["msg"]}
            raise PydanticCustomError("body", "{place}: {reason}", told) from error

    return BeforeValidator(read)


async def service_of(request: Request) -> Service:
    """The service behind the application."""
    found: Service = request.app.state.service
    return found


Served = Annotated[Service, Depends(service_of)]


def answers(example: Frozen | None, *statuses: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """What a route may answer, for its OpenAPI description: an example, and the errors with ``statuses``."""
    if example is None:
        return declared(*statuses)
    told = {"content": {"application/json": {"example": example.model_dump(mode="json")}}}
    return {status: told, **declared(*statuses)}


def streams(media_types: Iterable[str], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same for an answer that is no JSON."""
    content = {each: {"schema": {"type": "string"}} for each in media_types}
    return {200: {"content": content}, **declared(*statuses)}
