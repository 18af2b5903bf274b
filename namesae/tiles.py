"""Pictures with activations under them, as a page shows them, and the pages' environment."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import jinja2
from PIL import Image

from agent.hypotheses import Tally
from agent.records import Evidence
from namesae.lines import percent
from tools.errors import NamesaeError
from tools.page_templates import page_templates
from tools.protocols import Reading, StoresImages

MOST_BYTES = 20_000
"""A larger picture goes into a page as a thumbnail."""
THUMBNAIL = 192
TEMPLATES = Path(__file__).with_name("templates")


def page_environment() -> jinja2.Environment:
    """Templates that escape every text and refuse a name that is not there."""
    environment = page_templates(TEMPLATES)
    environment.filters["percent"] = percent
    environment.filters["formula"] = _formula
    environment.filters["tally"] = _tally
    environment.filters["clock"] = lambda at: datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
    return environment


def _formula(reading: Reading) -> str:
    """What a reading says, in words."""
    joint = {"and": " and ", "or": " or "}.get(reading.kind, " ")
    said = joint.join(reading.words)
    return f"not {said}" if reading.kind == "not" else said


def _tally(told: Tally) -> str:
    """Images of a prediction, and how strongly the feature was on there."""
    return "" if told.rate is None else f"{told.rate:.2f} on {told.images}"


class Tile(NamedTuple):
    """A picture on the page."""

    source: str | None
    """data: URL; None where the picture is missing."""
    activation: float | None
    fires: bool
    title: str


class Pictures:
    """Pictures of a store as data: URLs."""

    def __init__(self, store: StoresImages) -> None:
        self._store = store
        self._sources: dict[str, str | None] = {}

    def tile(self, image: str | None, activation: float | None, *, threshold: float, title: str = "") -> Tile:
        """The picture with its activation; without a source where it is missing or unreadable."""
        source = None if image is None else self._source(image)
        fires = activation is not None and activation > threshold
        return Tile(source, activation, fires, title)

    def _source(self, image: str) -> str | None:
        if image not in self._sources:
            try:
                self._sources[image] = data_url(self._store.get(image))
            except (KeyError, NamesaeError):
                self._sources[image] = None
        return self._sources[image]


def data_url(picture: Image.Image) -> str:
    """A picture as a data: URL: PNG where that is small, else a WebP thumbnail."""
    png = io.BytesIO()
    picture.save(png, format="PNG")
    if len(png.getvalue()) <= MOST_BYTES:
        return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
    small = picture.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    webp = io.BytesIO()
    small.save(webp, format="WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(webp.getvalue()).decode()}"


def exemplar_tiles(evidence: Evidence | None, pictures: Pictures) -> tuple[Tile, ...]:
    """The exemplars, strongest first."""
    if evidence is None:
        return ()
    ordered = sorted(evidence.exemplars, key=lambda each: -each.activation)
    return tuple(
        pictures.tile(each.image, each.activation, threshold=evidence.facts.threshold) for each in ordered
    )


def sealed_tiles(evidence: Evidence | None, pictures: Pictures) -> tuple[Tile, ...]:
    """The images of the judge, strongest first."""
    if evidence is None:
        return ()
    both = zip(evidence.sealed_images, evidence.sealed_activations, strict=True)
    ordered = sorted(both, key=lambda each: -each[1])
    return tuple(pictures.tile(image, value, threshold=evidence.facts.threshold) for image, value in ordered)
