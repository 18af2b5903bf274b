"""The models of one dictionary: what draws, what scores, exemplars, control set. Loaded when first used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from namesae.galleries import Shelf
from namesae.witnesses import Called
from sae.feature import Exemplar
from tools.protocols import (
    DrawImages,
    FeatureFacts,
    FindExemplars,
    Floats,
    KnowsControl,
    Reading,
    ScoreImages,
)

Say = Callable[[str], None]
"""Tells the person what takes a while."""


class SearchesProbe(FindExemplars, Protocol):
    """A probe set that also tells what a feature does on every picture."""

    def activations(self, index: int) -> Floats:
        """(n,) in the order of the pictures."""
        ...


class ReadsActivations(Protocol):
    """Activations of a feature on the probe pictures to what an image-text model reads in them."""

    def __call__(self, activations: Floats, *, p99: float) -> tuple[Reading, ...]: ...


class Models(NamedTuple):
    """Everything a run asks of a dictionary; nothing heavy is loaded until it is called."""

    draw: DrawImages
    score: ScoreImages
    exemplars: Callable[[], SearchesProbe]
    control: Callable[[], KnowsControl]
    judge_control: Callable[[], KnowsControl]
    """Pictures that no naming uses: for whoever judges names afterwards."""
    fingerprint: str
    """Digest of all that determines what they answer, known without loading any."""
    lexicon: Path | None = None
    """What is known of the generator's words."""
    witness: Called | None = None
    """What says whether pictures show what was asked for."""


class KeptExemplars:
    """A FindExemplars whose findings are written to the image store, so that they can be shown later."""

    def __init__(self, found: SearchesProbe, shelf: Shelf, *, read: ReadsActivations | None = None) -> None:
        """``read``: what an image-text model reads in the pictures for a feature."""
        self._found, self._shelf, self._read = found, shelf, read
        self._facts: dict[int, FeatureFacts] = {}
        self.fingerprint = found.fingerprint

    def facts(self, index: int) -> FeatureFacts:
        """What is known of the feature, readings of the probe pictures included."""
        if index not in self._facts:
            self._facts[index] = self._worked_out(index)
        return self._facts[index]

    def _worked_out(self, index: int) -> FeatureFacts:
        facts = self._found.facts(index)
        if self._read is None or facts.readings:
            return facts
        return facts.model_copy(
            update={"readings": self._read(self._found.activations(index), p99=facts.p99)}
        )

    def activations(self, index: int) -> Floats:
        """(n,) activations of the feature on all probe pictures, in their order."""
        return self._found.activations(index)

    def __call__(self, index: int, *, count: int, low: float = 0.0, high: float = 1.0) -> list[Exemplar]:
        """Probe images of a quantile band, highest first."""
        exemplars = self._found(index, count=count, low=low, high=high)
        self._shelf.keep([each.image for each in exemplars])
        return exemplars
