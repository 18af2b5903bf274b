"""Routes that answer a browser: what fails becomes a page with one sentence, never a traceback."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from namesae.pages.rendering import is_fragment, render
from namesae.service.failures import failure_of

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
TITLES = {
    400: "That cannot be done",
    401: "Who are you?",
    403: "Not with this token",
    404: "Nothing is here",
    409: "Not as things stand",
    422: "That cannot be read",
    413: "That is too large",
    429: "The queue is full",
    503: "Something is out of reach",
}


class Access(Protocol):
    """Who may see and do what (namesae.service.access)."""

    def require(self, scope: str, /) -> Any:
        """A dependency that lets requests of this scope pass: 'read', 'run' or 'admin'."""
        ...

    def principal_of(self, request: Request, /) -> Any:
        """Who asks; it has a ``name`` and a ``scope``."""
        ...


class PageRoute(APIRoute):
    """Turns errors into pages, and a missing token into the login page."""

    def get_route_handler(self) -> Handler:
        """The handler, with its errors caught."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:  # noqa: BLE001 - each becomes an answer; unforeseen ones are logged
                return error_page(request, error)

        return answer


def page_router() -> APIRouter:
    """A router for pages: not part of the API's schema."""
    return APIRouter(route_class=PageRoute, include_in_schema=False)


def error_page(request: Request, error: Exception) -> Response:
    """An error as a page, or as a part of one for HTMX; a missing token leads to the login page."""
    status, sentence, headers = failure_of(error)
    if status == 401:
        return _to_login(request)
    answer = _page(request, status, sentence)
    answer.headers.update(headers)
    return answer


def status_of(error: Exception) -> int:
    """The HTTP status that says the same."""
    return failure_of(error).status


def _page(request: Request, status: int, sentence: str) -> Response:
    title = TITLES.get(status, "Something went wrong")
    template = "fault.html.j2" if is_fragment(request) else "error.html.j2"
    return render(request, template, status=status, title=title, sentence=sentence)


def _to_login(request: Request) -> Response:
    if is_fragment(request):
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    wanted = request.url.path if request.method == "GET" else "/"
    return RedirectResponse(f"/login?next={quote(wanted, safe='')}", status_code=303)
