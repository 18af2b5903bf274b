"""From a template and values to a page: one Jinja2 environment, in which every text is escaped."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse

from namesae.pages.figures import FILTERS
from namesae.pages.picture_tiles import tiles
from tools.page_templates import page_templates

if TYPE_CHECKING:
    import jinja2
    from starlette.requests import Request

TEMPLATES = Path(__file__).with_name("templates")
STATIC = Path(__file__).with_name("static")


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page, or a part of one.

    Templates have, beside ``values``: ``path`` (of the request), ``fragment`` (whether HTMX asks for a part
    of a page), ``principal`` (who asks; None where the app does not say), ``static(name)`` (a file's URL).
    """
    page = environment().get_template(template)
    principal = getattr(request.state, "principal", None)
    told = {"path": request.url.path, "fragment": is_fragment(request), "principal": principal, **values}
    # The same URL is a page, and a part of one for HTMX.
    return HTMLResponse(page.render(told), status_code=status, headers={"Vary": "HX-Request"})


def is_fragment(request: Request) -> bool:
    """Whether HTMX asks for a part of a page; going back in history asks for a whole one."""
    asked = request.headers.get("hx-request") == "true"
    return asked and request.headers.get("hx-history-restore-request") != "true"


@cache
def environment() -> jinja2.Environment:
    """The templates of the pages, with the filters of ``namesae.pages.figures``."""
    made = page_templates(TEMPLATES)
    made.auto_reload = False
    made.filters.update(FILTERS, tiles=tiles)
    made.globals["static"] = static_url
    return made


@cache
def static_url(name: str) -> str:
    """Where a file of static/ is served, with its digest, so that a browser may keep it for ever."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?v={digest}"
