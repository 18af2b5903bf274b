"""A picture from a visitor, and the features of a dictionary that are most active on it."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, File, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool

from namesae.pages.page_route import Access, page_router
from namesae.pages.refusals import refused
from namesae.pages.rendering import is_fragment, render
from namesae.service.picture_child import MOST_BYTES, MOST_PIXELS
from namesae.service.picture_reading import read_picture
from tools.errors import UsageError

if TYPE_CHECKING:
    from fastapi import APIRouter

    from namesae.service.feature_query import FeatureActivation
    from namesae.service.service import Service

MOST = 40
SIDE = 160
"""Pixels of the picture when it is shown again."""
Given = Annotated[UploadFile | str, File()]


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
            found = self.service.features.top_features(data, dictionary=name, limit=MOST)
            return self._page(request, name, found=found, picture=small(data))
        except UsageError as error:
            return self._page(request, name, error=error)

    def _page(
        self,
        request: Request,
        name: str,
        *,
        found: tuple[FeatureActivation, ...] = (),
        picture: str = "",
        error: UsageError | None = None,
    ) -> Response:
        refusal = refused(error)
        return render(
            request,
            "picture_features.html.j2" if is_fragment(request) else "picture.html.j2",
            status=refusal.status,
            row=self.service.features.dictionary(name),
            found=found,
            picture=picture,
            fault=refusal.sentence,
            side=SIDE,
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


def small(data: bytes) -> str:
    """The picture as a data URL, made anew and small; UsageError for what is none."""
    picture = read_picture(data)
    picture.thumbnail((2 * SIDE, 2 * SIDE))
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode()}"
