"""What a form says, as an order: what is wrong in it is told in one sentence."""

from __future__ import annotations

import secrets
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from tools.errors import UsageError

Order = TypeVar("Order", bound=BaseModel)
MOST_SHOWN = 60


def order_from(kind: type[Order], given: FormData, /, **fixed: Any) -> Order:
    """An order from the fields of a form that bear its names; UsageError.

    An empty field counts as not given, a checkbox that is not there as not ticked.
    """
    fields = {name: str(value) for name, value in given.items() if name in kind.model_fields and value != ""}
    try:
        return kind.model_validate({**fields, **fixed})
    except ValidationError as error:
        raise UsageError(sentence_of(error)) from error


def sentence_of(error: ValidationError) -> str:
    """What is wrong with the first field that is."""
    fault = error.errors(include_url=False)[0]
    name = " ".join(str(part) for part in fault["loc"]).replace("_", " ") or "the form"
    reason = fault["msg"].removeprefix("Value error, ")
    value = str(fault["input"])[:MOST_SHOWN]
    return f"{name[:1].upper()}{name[1:]} {value!r} is wrong: {reason[:1].lower()}{reason[1:]}."


def fresh_key() -> str:
    """For a hidden field: the same form sent twice is one order."""
    return secrets.token_urlsafe(12)


def key_of(given: FormData) -> str | None:
    """The key a form brings."""
    key = str(given.get("key", ""))[:64]
    return key or None


def go_to(request: Request, url: str) -> Response:
    """Lead the browser to another page, whether a form or HTMX asked."""
    if request.headers.get("hx-request") == "true":
        return Response(status_code=204, headers={"HX-Redirect": url})
    return RedirectResponse(url, status_code=303)
