"""What the feature tools answer: figures and pictures with ids that can be cited. Imports no torch."""

from __future__ import annotations

import json
from typing import Any

from agent.budget import Refusal
from sae.feature import Frozen

DIGITS = 4
"""Decimals of a figure, as told and as kept: what is cited is what was said."""


class Figure(Frozen):
    """One measured number that an answer may cite."""

    id: str
    """fig-1, fig-2, ... in the order in which a conversation measured them."""
    value: float
    low: float | None = None
    """Lower end of its 95 % interval, where it has one."""
    high: float | None = None
    meaning: str


class Picture(Frozen):
    """One picture that an answer may cite: an exemplar of the probe set, or drawn. Never a sealed one."""

    id: str
    """img-1, img-2, ..."""
    image: str
    """sha256 of its PNG bytes; the LLM is told the id alone."""
    activation: float
    """Of the feature it was shown for, in units of the 99th percentile of its probe activations."""
    meaning: str


class Word(Frozen):
    """A word and how strongly it goes with the feature."""

    word: str
    strength: float


class Facts(Frozen):
    """What is known of a feature before anything is drawn."""

    feature: str
    density: Figure
    exemplars_show: tuple[Word, ...]
    """Words that an image-text model sees in the exemplars more than elsewhere, with their lift."""
    direction_words: tuple[Word, ...]
    """Words nearest the decoder direction, with their cosine; multimodal backbones only."""
    reads_as: tuple[Word, ...] = ()
    """Words and formulas of words that tell its probe activations best, with their F1."""
    neighbours: tuple[int, ...]


class Exemplars(Frozen):
    """Probe pictures of a band of the activation, highest first."""

    feature: str
    low: float
    high: float
    pictures: tuple[Picture, ...]


class PromptScore(Frozen):
    """What a feature did on the pictures of one prompt."""

    prompt: str
    pictures: tuple[Picture, ...]
    unusable: int = 0
    """Pictures that came out black or filtered: reported, never scored."""
    mean: Figure | None = None
    rate: Figure | None = None
    """Share of the pictures on which it fires. None, as the mean, where there is none to score."""


class Drawn(Frozen):
    """Prompts drawn with the same seeds and scored."""

    feature: str
    prompts: tuple[PromptScore, ...]
    refused: tuple[Refusal, ...]
    images_left: int
    """That the budget still grants."""


class Pair(Frozen):
    """Two prompts on the same seeds."""

    feature: str
    first: PromptScore
    second: PromptScore
    difference: Figure | None
    """Mean of first - second over the seeds that gave both pictures; None where none did."""
    images_left: int


class ControlRate(Frozen):
    """What a feature does on pictures of nothing in particular."""

    feature: str
    images: int
    rate: Figure
    mean: Figure


class BankPrompt(Frozen):
    """A prompt of an earlier run that fired the feature."""

    prompt: str
    images: int
    mean: Figure


class BankPrompts(Frozen):
    """Prompts of earlier runs, strongest first."""

    feature: str
    prompts: tuple[BankPrompt, ...]


class Neighbour(Frozen):
    """A feature of a similar direction."""

    index: int
    density: float
    name: str | None
    """Its latest stored name; None where it has none."""
    verdict: str | None


class Neighbours(Frozen):
    """Nearest features by decoder cosine, nearest first."""

    feature: str
    neighbours: tuple[Neighbour, ...]


class StoredName(Frozen):
    """The latest stored explanation; every field None where the feature was never named."""

    feature: str
    name: str | None
    verdict: str | None
    run: str | None = None
    auroc: Figure | None = None
    ceiling: Figure | None = None
    activation_rate: Figure | None = None
    control_rate: Figure | None = None
    floor: Figure | None = None
    rivals: tuple[str, ...] = ()


class Refused(Frozen):
    """A call that was not carried out."""

    refused: str


def told(result: Frozen) -> str:
    """The result as an LLM reads it: ASCII JSON, picture ids without their hashes, no empty field."""
    return json.dumps(_lean(result.model_dump(mode="json")), ensure_ascii=True)


def _lean(value: Any) -> Any:
    if isinstance(value, dict):
        hidden = {"image"} if "id" in value else set()
        return {name: _lean(part) for name, part in value.items() if name not in hidden and part is not None}
    if isinstance(value, list):
        return [_lean(part) for part in value]
    return value
