"""Images by the hash of their content: whole or as thumbnails, kept by browsers for ever."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from pydantic import BeforeValidator
from starlette.responses import Response

from namesae.service.api_words import Reader, Served, streams
from namesae.service.pictures import IMAGE_TYPE, THUMBNAIL_TYPE, Side

router = APIRouter(tags=["images"])

Sha = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="sha256 of the picture's PNG bytes.")]


def _number(given: object) -> object:
    """Queries are texts, and a literal number is none of them."""
    return int(given) if isinstance(given, str) and given.isdecimal() and len(given) < 5 else given


Square = Annotated[
    Side | None,
    BeforeValidator(_number),
    Query(description="Pixels of a thumbnail's longer side; absent: the whole."),
]
Known = Annotated[str | None, Header(alias="If-None-Match", max_length=1000)]
CACHED = "private, max-age=31536000, immutable"


@router.get(
    "/images/{sha256}",
    response_class=Response,
    responses=streams((IMAGE_TYPE, THUMBNAIL_TYPE), 404)
    | {304: {"description": "The picture that If-None-Match names."}},
)
def get_image(sha256: Sha, service: Served, _: Reader, side: Square = None, known: Known = None) -> Response:
    """A picture as PNG, or a thumbnail of it as WEBP."""
    etag = f'"{sha256}-{side}"' if side else f'"{sha256}"'
    headers = {"ETag": etag, "Cache-Control": CACHED}
    if known is not None and (etag in known or known.strip() == "*"):
        return Response(status_code=304, headers=headers)
    if side is None:
        return Response(service.pictures.png(sha256), media_type=IMAGE_TYPE, headers=headers)
    return Response(service.pictures.thumbnail(sha256, side), media_type=THUMBNAIL_TYPE, headers=headers)
