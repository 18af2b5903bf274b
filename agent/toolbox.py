"""Everything a run works with, injected: the graph's context. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.events import EventSink, ignore
from agent.proposer import Proposer
from tools.bank import BankRow, PromptFiring, PromptResponse
from tools.protocols import DrawImages, FindExemplars, KnowsControl, ScoreExplanation, ScoreImages, Witness


class Bank(Protocol):
    """All images drawn by searches and what every feature did on them (tools/bank.py)."""

    def prompts_that_fire(self, index: int, *, top: int) -> Sequence[PromptFiring]: ...
    def responses(self, index: int, *, top: int = 400, quiet: int = 400) -> Sequence[PromptResponse]: ...
    def add(self, rows: Iterable[BankRow]) -> int: ...
    def row(self, image: str) -> BankRow | None: ...


class SealedImages(Protocol):
    """The judges' images by name (tools/sealed.py). Only the judge reads them."""

    def add(self, name: str, images: Sequence[str]) -> None: ...
    def others(self, name: str, *, top: int) -> dict[str, tuple[str, ...]]:
        """Up to ``top`` other names with no word in common with ``name``, and the images judged for each."""
        ...


def unknown_cosine(first: int, second: int) -> float | None:
    """Of decoder directions that nobody knows."""
    return None


@dataclass(frozen=True)
class Toolbox:
    """The tools of one run. Drawing and scoring are ledgered, so a repeated node repeats no recorded work."""

    draw: DrawImages
    score: ScoreImages
    exemplars: FindExemplars
    control: KnowsControl
    cosy: ScoreExplanation
    bank: Bank
    sealed: SealedImages
    proposer: Proposer
    clock: Callable[[], float]
    """Seconds since the epoch."""
    emit: EventSink = ignore
    drawn: Callable[[], int] = int
    """Images that this process has really drawn for this run so far."""
    witness: Witness | None = None
    """What says whether pictures show what was asked for; without one nothing is called unrenderable."""
    cosine: Callable[[int, int], float | None] = unknown_cosine
    """Of the decoder directions of two features."""
