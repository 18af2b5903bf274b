"""Drawing and scoring that remember within the process, and count what one cell asks for.

The ledger already sees to it that nothing is drawn or scored twice; this saves asking it 951 times a feature.
"""

from __future__ import annotations

from collections.abc import Sequence

from tools.bank import SEALED_FROM
from tools.protocols import DrawImages, DrawnImage, DrawRequest, GeneratorCard, ScoreImages, SparseCode

MOST = 200_000
"""Outcomes remembered; an image's code is some 300 bytes."""


class RememberedDraw:
    """A DrawImages that looks up what it was asked before."""

    def __init__(self, draw: DrawImages) -> None:
        self._draw = draw
        self._known: dict[DrawRequest, DrawnImage] = {}

    @property
    def card(self) -> GeneratorCard:
        return self._draw.card

    @property
    def fingerprint(self) -> str:
        return self._draw.fingerprint

    def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
        """One DrawnImage per request, in order."""
        missing = [request for request in dict.fromkeys(requests) if request not in self._known]
        found = dict(zip(missing, self._draw(missing), strict=True)) if missing else {}
        if len(self._known) < MOST:
            self._known |= found
        return [found[request] if request in found else self._known[request] for request in requests]


class RememberedScore:
    """A ScoreImages that looks up what it was asked before."""

    def __init__(self, score: ScoreImages) -> None:
        self._score = score
        self._known: dict[str, SparseCode] = {}

    @property
    def dictionary(self) -> str:
        return self._score.dictionary

    @property
    def fingerprint(self) -> str:
        return self._score.fingerprint

    def __call__(self, images: Sequence[str]) -> list[SparseCode]:
        """One SparseCode per image id, in order."""
        missing = [image for image in dict.fromkeys(images) if image not in self._known]
        found = dict(zip(missing, self._score(missing), strict=True)) if missing else {}
        if len(self._known) < MOST:
            self._known |= found
        return [found[image] if image in found else self._known[image] for image in images]


class Meter:
    """A DrawImages that notes which images a search asks for; a judge's are not a search's."""

    def __init__(self, draw: DrawImages) -> None:
        self._draw = draw
        self.asked: dict[DrawRequest, str | None] = {}

    @property
    def card(self) -> GeneratorCard:
        return self._draw.card

    @property
    def fingerprint(self) -> str:
        return self._draw.fingerprint

    def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
        """One DrawnImage per request, in order."""
        drawn = self._draw(requests)
        self.asked |= {each.request: each.image for each in drawn if each.request.seed < SEALED_FROM}
        return drawn

    @property
    def images(self) -> tuple[str, ...]:
        """First 16 hex digits of the ids of the usable images, each once."""
        return tuple(dict.fromkeys(image[:16] for image in self.asked.values() if image is not None))
