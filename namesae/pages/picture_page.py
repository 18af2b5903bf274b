"""A picture from a visitor, and the features of a dictionary that are most active on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

from fastapi import Depends, File, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool

from namesae.pages.page_route import Access, page_router
from namesae.pages.refusals import refused
from namesae.pages.rendering import is_fragment, render
from namesae.service.picture_child import MOST_BYTES, MOST_PIXELS
from namesae.service.picture_reading import read_picture
from namesae.tiles import data_url
from tools.errors import NamesaeError, UsageError

if TYPE_CHECKING:
    from fastapi import APIRouter
    from PIL import Image

    from namesae.service.feature_query import Ranking
    from namesae.service.service import Service

MOST = 40
"""Features that are shown."""
SIDE = 160
"""Pixels of the longer side of the picture when it is shown again."""

Given = Annotated[UploadFile | str, File()]


class Sent(NamedTuple):
    """The picture as it is shown again."""

    url: str
    """Its data, made anew."""
    width: int
    height: int


class PicturePages:
    """What the routes answer."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def ask(self, request: Request, name: str) -> Response:
        """The form."""
        return self._page(request, name)

    async def answer(self, request: Request, name: str, image: Given = "") -> Response:
        """The features, or why there are none, below the form; alone for HTMX."""
        data = b"" if isinstance(image, str) else await image.read()
        return await run_in_threadpool(self._found, request, name, data)

    def _found(self, request: Request, name: str, data: bytes) -> Response:
        try:
            if not data:
                raise UsageError("No picture was sent; choose a PNG, JPEG or WEBP file.")
            picture = read_picture(data)
            found = self.service.features.ranked(picture, dictionary=name, limit=MOST)
            return self._page(request, name, found=found, sent=small(picture))
        except NamesaeError as error:
            return self._page(request, name, error=error)

    def _page(
        self,
        request: Request,
        name: str,
        *,
        found: Ranking | None = None,
        sent: Sent | None = None,
        error: NamesaeError | None = None,
    ) -> Response:
        refusal = refused(error)
        return render(
            request,
            "picture_features.html.j2" if is_fragment(request) else "picture.html.j2",
            status=refusal.status,
            row=self.service.features.dictionary(name),
            found=found,
            sent=sent,
            fault=refusal.sentence,
            most_bytes=MOST_BYTES,
            most_pixels=MOST_PIXELS,
        )


def router(service: Service, access: Access) -> APIRouter:
    """``/d/NAME/picture``."""
    made, pages = page_router(), PicturePages(service)
    read = [Depends(access.require("read"))]
    made.get("/d/{name}/picture", dependencies=read)(pages.ask)
    made.post("/d/{name}/picture", dependencies=read)(pages.answer)
    return made


def small(picture: Image.Image) -> Sent:
    """The picture made small, with the size at which it is shown."""
    copy = picture.copy()
    copy.thumbnail((2 * SIDE, 2 * SIDE))
    share = min(1.0, SIDE / max(copy.size))
    width, height = (max(1, round(share * side)) for side in copy.size)
    return Sent(data_url(copy), width, height)
