"""Pictures of where in an image a feature looks: made when first asked for, then kept as files.

Torch and the dictionary are loaded by the first picture that is not there yet, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Response
from fastapi import Path as InPath

from namesae.dictionaries import Listed, find_dictionary
from namesae.pages.page_route import Access, page_router
from namesae.service.errors import NotFound, QueueFull
from sae.whole_file import whole_file
from tools.digest import digest
from tools.errors import NamesaeError, UsageError

if TYPE_CHECKING:
    from fastapi import APIRouter
    from PIL import Image

    from namesae.service.service import Service
    from sae.activations import FeatureReader

VERSION = 1
"""Of what a picture depends on beside the dictionary, the feature and the image."""
SIDE = 256
"""Pixels a picture has at most in either direction."""
MOST_WAITING, RETRY_S = 64, 10
MOST_OPEN = 2
"""Dictionaries that stay loaded."""
MEDIA_TYPE = "image/png"
KEPT = "private, max-age=86400"
_SHA = re.compile(r"[0-9a-f]{64}")
Index = Annotated[int, InPath(ge=0, le=9_999_999)]


class RelevanceImages:
    """Overlays of one service, made one after another."""

    def __init__(self, service: Service) -> None:
        self._service, self._folder = service, service.settings.home / "relevance"
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="relevance")
        self._open: OrderedDict[str, FeatureReader] = OrderedDict()
        self._waiting = 0

    async def png(self, dictionary: str, index: int, *, image: str) -> bytes:
        """The overlay as PNG.

        NotFound for a feature or image that there is not, UsageError where the dictionary cannot or the
        feature is silent on the image, QueueFull.
        """
        found = await asyncio.to_thread(self._found, dictionary, index, image=image)
        if isinstance(found, bytes):
            return found
        if self._waiting >= MOST_WAITING:
            raise QueueFull(self._waiting, retry_after_s=RETRY_S)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, found)
        finally:
            self._waiting -= 1

    def _found(self, dictionary: str, index: int, *, image: str) -> bytes | Callable[[], bytes]:
        """The picture, or what makes it."""
        if _SHA.fullmatch(image) is None:
            raise NotFound(f"Image {image[:70]!r} is no sha256.")
        self._service.features.row(dictionary, index)
        listed = find_dictionary(dictionary, self._service.settings)
        if listed.card is None or listed.folder is None:
            raise UsageError(f"Dictionary {dictionary!r} is planted: it has no weights to look into.")
        path = self._path(listed, index, image=image)
        if path.is_file():
            return path.read_bytes()
        return lambda: self._made(listed, index, image=image)

    def _path(self, listed: Listed, index: int, *, image: str) -> Path:
        assert listed.card is not None
        told = digest(relevance=VERSION, weights=listed.card.weights, feature=index, image=image, side=SIDE)
        return self._folder / told[:2] / f"{told}.png"

    def _made(self, listed: Listed, index: int, *, image: str) -> bytes:
        path = self._path(listed, index, image=image)
        if path.is_file():
            return path.read_bytes()
        buffer = io.BytesIO()
        self._mapped(listed, index, picture=self._picture(image)).save(buffer, format="PNG")
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_bytes(buffer.getvalue())
        return buffer.getvalue()

    def _picture(self, image: str) -> Image.Image:
        try:
            return self._service.state.images.get(image)
        except KeyError as error:
            raise NotFound(f"Image {image} is not in the image store.") from error

    def _mapped(self, listed: Listed, index: int, *, picture: Image.Image) -> Image.Image:
        from namesae.sae_looking import explained
        from sae.relevance.maps import fitting_method, relevance
        from sae.relevance.overlay import overlay, seen
        from sae.relevance.target import feature_target

        with explained():
            reader = self._reader(listed)
            found = relevance(reader, picture, feature_target(reader, index), fitting_method(reader))
            laid = overlay(seen(reader.backbone.preprocess, picture), found)
        laid.thumbnail((SIDE, SIDE))
        return laid

    def _reader(self, listed: Listed) -> FeatureReader:
        from sae.activations import open_reader
        from tools.device import best_device

        assert listed.card is not None and listed.folder is not None
        key = listed.card.weights
        if key not in self._open:
            self._open[key] = open_reader(listed.folder, device=best_device())
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(key)
        return self._open[key]


def router(service: Service, access: Access) -> APIRouter:
    """``/d/NAME/INDEX/relevance/SHA256``."""
    made, images = page_router(), RelevanceImages(service)

    async def relevance_image(name: str, index: Index, sha: str) -> Response:
        # A picture's route: what fails is one sentence, which a browser does not show.
        try:
            png = await images.png(name, index, image=sha)
        except NamesaeError as error:
            return plain_fault(error)
        return Response(png, media_type=MEDIA_TYPE, headers={"Cache-Control": KEPT})

    read = [Depends(access.require("read"))]
    made.get("/d/{name}/{index:int}/relevance/{sha}", dependencies=read)(relevance_image)
    return made


def plain_fault(error: NamesaeError) -> Response:
    """An error as text."""
    from namesae.service.failures import failure_of

    status, sentence, headers = failure_of(error)
    return Response(sentence, status_code=status, media_type="text/plain", headers=headers)
