"""How well a name tells the probe set, where an image-text model has read it (tools/readings.py)."""

from __future__ import annotations

from collections.abc import Sequence

from agent.plans import Candidate
from tools.cards import FUNCTION_WORDS, words_of
from tools.protocols import Reading

_JOINS = FUNCTION_WORDS | {"or", "not", "thing", "things"}


def with_told(candidate: Candidate, readings: Sequence[Reading]) -> Candidate:
    """The candidate with the F1 of the reading that says the same; unchanged where there is none, or it
    knows its own."""
    if candidate.told is not None:
        return candidate
    said = _content(" ".join(candidate.parts) if candidate.kind == "or" else candidate.name)
    kinds = {candidate.kind, "one", "and"} if candidate.kind in ("one", "and") else {candidate.kind}
    same = (each for each in readings if each.kind in kinds and _content(" ".join(each.words)) == said)
    found = next(same, None)
    return candidate if found is None else candidate.model_copy(update={"told": found.f1})


def _content(text: str) -> frozenset[str]:
    return frozenset(words_of(text)) - _JOINS
