"""The pictures a report carries: small, each once, and no more than a page can bear."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from evals.cell import Cell
from evals.contenders import Contender
from evals.step_choice import best_steps
from sae.feature import Feature

Picture = Callable[[str], bytes]
"""An image id to its PNG bytes; KeyError where it is missing."""
SIZE = 48
QUALITY = 60
MOST = 2_500
MOST_BYTES = 4_000_000
"""Of base64 text, all thumbnails together."""
SEALED_SHOWN = 5
STEPS_SHOWN = 3
"""Best steps whose images are shown."""
IMAGES_SHOWN = 4
"""Of one step."""


class Thumbnails(NamedTuple):
    """Pictures as base64 WebP, and the place of each by image id."""

    places: Mapping[str, int]
    sources: tuple[str, ...]

    def place(self, image: str | None) -> int:
        """-1 where the picture is not carried."""
        return -1 if image is None else self.places.get(image, -1)


def wanted(features: Mapping[Feature, Mapping[str, Cell]], shown: Sequence[Contender]) -> list[str]:
    """Image ids, most wanted first: of every feature ours before rivals before controls, and of a condition
    its first sealed images and those of its best step before the rest."""
    roles = {"ours": 0, "rival": 1, "control": 2}
    ranks = {each.condition: at for at, each in enumerate(sorted(shown, key=lambda each: roles[each.role]))}
    ranked = [
        (2 * ranks[cell.condition] + wish, image)
        for cells in features.values()
        for cell in cells.values()
        if cell.condition in ranks
        for wish, image in _wishes(cell)
    ]
    ranked.sort(key=lambda pair: pair[0])
    return list(dict.fromkeys(image for _, image in ranked))


def _wishes(cell: Cell) -> Iterable[tuple[int, str]]:
    """(how late, image id) of every picture a cell could show."""
    if cell.judged is not None:
        yield from enumerate(cell.judged.images[:SEALED_SHOWN])
    for at, step in enumerate(best_steps(cell.answer.steps, STEPS_SHOWN)):
        for place, image in enumerate(cell.answer.steps[step].images[:IMAGES_SHOWN]):
            if image is not None:
                yield 40 * at + place, image


def thumbnails(images: Iterable[str], picture: Picture, *, most: int = MOST) -> Thumbnails:
    """The first ``most`` pictures that are there and can be read, until they are too many bytes."""
    sources: list[str] = []
    places: dict[str, int] = {}
    spent = 0
    for image in dict.fromkeys(images):
        if len(sources) >= most or spent >= MOST_BYTES:
            break
        small = _small(image, picture)
        if small is not None:
            places[image] = len(sources)
            sources.append(small)
            spent += len(small)
    return Thumbnails(places, tuple(sources))


def _small(image: str, picture: Picture) -> str | None:
    from PIL import Image, UnidentifiedImageError

    try:
        opened = Image.open(io.BytesIO(picture(image)), formats=("PNG", "JPEG", "WEBP")).convert("RGB")
    except (KeyError, UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    opened.thumbnail((SIZE, SIZE))
    out = io.BytesIO()
    opened.save(out, format="WEBP", quality=QUALITY)
    return base64.b64encode(out.getvalue()).decode()
