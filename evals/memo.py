"""Drawing and scoring that remember within the process, and count what one cell asks for.

The ledger already sees to it that nothing is drawn or scored twice; this saves asking it 951 times a feature.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from tools.bank import SEALED_FROM
from tools.protocols import DrawImages, DrawnImage, DrawRequest, GeneratorCard, ScoreImages, SparseCode

MOST = 200_000
"""Outcomes remembered; an image's code is some 300 bytes."""


Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class Memo(Generic[Key, Found]):
    """What was asked before, with its answer; only the rest is asked."""

    def __init__(self, ask: Callable[[Sequence[Key]], list[Found]]) -> None:
        self._ask = ask
        self._known: dict[Key, Found] = {}

    def __call__(self, wanted: Sequence[Key]) -> list[Found]:
        """One answer per key, in order."""
        missing = [key for key in dict.fromkeys(wanted) if key not in self._known]
        found = dict(zip(missing, self._ask(missing), strict=True)) if missing else {}
        if len(self._known) < MOST:
            self._known |= found
        return [found[key] if key in found else self._known[key] for key in wanted]


class RememberedDraw:
    """A DrawImages that looks up what it was asked before."""

    def __init__(self, draw: DrawImages) -> None:
        self.card: GeneratorCard = draw.card
        self.fingerprint: str = draw.fingerprint
        self._memo: Memo[DrawRequest, DrawnImage] = Memo(draw)

    def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
        """One DrawnImage per request, in order."""
        return self._memo(requests)


class RememberedScore:
    """A ScoreImages that looks up what it was asked before."""

    def __init__(self, score: ScoreImages) -> None:
        self.dictionary: str = score.dictionary
        self.fingerprint: str = score.fingerprint
        self._memo: Memo[str, SparseCode] = Memo(score)

    def __call__(self, images: Sequence[str]) -> list[SparseCode]:
        """One SparseCode per image id, in order."""
        return self._memo(images)


class Meter:
    """A DrawImages that notes which images a search asks for; a judge's are not a search's."""

    def __init__(self, draw: DrawImages) -> None:
        self._draw = draw
        self.card: GeneratorCard = draw.card
        self.fingerprint: str = draw.fingerprint
        self.asked: dict[DrawRequest, str | None] = {}

    def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
        """One DrawnImage per request, in order."""
        drawn = self._draw(requests)
        self.asked |= {each.request: each.image for each in drawn if each.request.seed < SEALED_FROM}
        return drawn

    @property
    def unmetered(self) -> DrawImages:
        """The same for what another cell is charged for."""
        return self._draw

    @property
    def images(self) -> tuple[str, ...]:
        """First 16 hex digits of the ids of the usable images, each once."""
        return tuple(dict.fromkeys(image[:16] for image in self.asked.values() if image is not None))
