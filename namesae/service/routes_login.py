"""Logging a browser in and out: a token in a form becomes a cookie that scripts cannot read."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse

from namesae.service.access import close_session, open_session
from namesae.service.errors import NotAllowed

router = APIRouter(include_in_schema=False)


@router.post("/login")
def log_in(
    request: Request,
    token: Annotated[str, Form(max_length=200)] = "",
    next: Annotated[str, Form(max_length=500)] = "/",
) -> RedirectResponse:
    """Open a session and go where the browser wanted to; back to the form for a worthless token."""
    wanted = own_path(next)
    answer = RedirectResponse(wanted, status_code=303)
    try:
        open_session(request, answer, secret=token.strip(), hours=request.app.state.options.session_hours)
    except NotAllowed:
        return RedirectResponse(f"/login?failed=1&next={quote(wanted, safe='')}", status_code=303)
    return answer


@router.post("/logout")
def log_out(request: Request) -> RedirectResponse:
    """End the session."""
    answer = RedirectResponse("/login", status_code=303)
    close_session(request, answer)
    return answer


def own_path(wanted: str) -> str:
    """A path of this service; the home page for anything that could lead elsewhere."""
    plain = wanted.isprintable() and wanted.isascii() and "\\" not in wanted
    return wanted if plain and wanted.startswith("/") and not wanted.startswith("//") else "/"
