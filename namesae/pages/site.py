"""All pages of the service, put into an app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.staticfiles import StaticFiles

from namesae.pages import (
    batch_page,
    dictionary_page,
    evals_page,
    feature_page,
    home_page,
    login_page,
    picture_page,
    relevance_images,
    review_page,
    run_page,
    runs_page,
    search_page,
)
from namesae.pages.page_route import Access
from namesae.pages.rendering import STATIC

if TYPE_CHECKING:
    from fastapi import FastAPI

    from namesae.service.service import Service

PAGES = (
    *(home_page, dictionary_page, picture_page, feature_page, relevance_images, search_page, login_page),
    *(run_page, runs_page, batch_page, evals_page, review_page),
)
"""Each has ``router(service, access) -> APIRouter``, made by ``page_router()``."""


def add_pages(app: FastAPI, service: Service, access: Access) -> None:
    """Include the router of every page, and /static unless the app has it already."""
    if not any(getattr(route, "name", "") == "static" for route in app.routes):
        app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for page in PAGES:
        app.include_router(page.router(service, access))
