"""The form that takes a token; what is posted is answered by ``namesae.service.routes_login``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Request, Response

from namesae.pages.page_route import Access, page_router
from namesae.pages.rendering import render

if TYPE_CHECKING:
    from fastapi import APIRouter

    from namesae.service.service import Service


def router(service: Service, access: Access) -> APIRouter:
    """``/login``: open to everybody."""
    made = page_router()

    @made.get("/login")
    def login(request: Request, next: str = "/", failed: bool = False) -> Response:
        status = 401 if failed else 200
        return render(request, "login.html.j2", status=status, wanted=next[:500], failed=failed)

    return made
