"""Drawing and scoring prompts with common seeds, the way search, race and judge all do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from agent.state import Shot
from agent.toolbox import Toolbox
from tools.bank import BankRow
from tools.errors import ToolError
from tools.protocols import DrawnImage, DrawRequest, Floats, SparseCode


class Wanted(NamedTuple):
    """One image to be drawn: a prompt before its template, and a seed."""

    prompt: str
    seed: int


def every(prompts: Iterable[str], seeds: Sequence[int]) -> list[Wanted]:
    """Each prompt with each seed, prompt by prompt."""
    return [Wanted(prompt, seed) for prompt in dict.fromkeys(prompts) for seed in seeds]


def draw_shots(toolbox: Toolbox, wanted: Sequence[Wanted], *, template: str) -> list[Shot]:
    """Draw in one call; where a prompt is refused, one call a prompt: a bad word spoils one prompt."""
    try:
        return _drawn(toolbox, wanted, template=template)
    except ToolError as error:
        prompts = dict.fromkeys(want.prompt for want in wanted)
        if len(prompts) == 1:
            return [_refused(want, str(error)) for want in wanted]
    shots: list[Shot] = []
    for prompt in prompts:
        group = [want for want in wanted if want.prompt == prompt]
        shots += draw_shots(toolbox, group, template=template)
    return shots


def score_shots(
    toolbox: Toolbox, shots: Sequence[Shot], *, index: int, bank: str | None = None
) -> list[Shot]:
    """The shots with the feature's activation on each image.

    ``bank``: the template the shots were drawn with, where they are to be banked; the judge's never are.
    """
    images = [shot.image for shot in shots if shot.image is not None]
    codes = dict(zip(images, toolbox.score(images), strict=True)) if images else {}
    if bank is not None:
        toolbox.bank.add(_rows(shots, codes, template=bank))
    return [
        shot
        if shot.image is None
        else shot.model_copy(update={"activation": codes[shot.image].activation(index)})
        for shot in shots
    ]


def activations(shots: Iterable[Shot]) -> Floats:
    """(n,) activations of the usable images."""
    return np.array([shot.activation for shot in shots if shot.activation is not None], dtype=np.float32)


def control_activations(toolbox: Toolbox, index: int) -> Floats:
    """(n0,) activations of the feature on the control set, in its order."""
    codes = toolbox.score(toolbox.control.images)
    return np.array([code.activation(index) for code in codes], dtype=np.float32)


def _drawn(toolbox: Toolbox, wanted: Sequence[Wanted], *, template: str) -> list[Shot]:
    requests = [DrawRequest(prompt=template.replace("{}", want.prompt), seed=want.seed) for want in wanted]
    drawn = toolbox.draw(requests) if requests else []
    return [_shot(want, outcome) for want, outcome in zip(wanted, drawn, strict=True)]


def _shot(want: Wanted, drawn: DrawnImage) -> Shot:
    return Shot(prompt=want.prompt, seed=want.seed, image=drawn.image, fault=drawn.fault)


def _refused(want: Wanted, why: str) -> Shot:
    return Shot(prompt=want.prompt, seed=want.seed, image=None, fault=why, charged=False)


def _rows(shots: Sequence[Shot], codes: dict[str, SparseCode], *, template: str) -> list[BankRow]:
    return [
        BankRow(shot.image, template.replace("{}", shot.prompt), shot.seed, codes[shot.image])
        for shot in shots
        if shot.image is not None
    ]
