"""What a row of a report opens into, as compact JSON: one text a feature, built into elements by its page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evals.answer import Answer
from evals.cell import Cell, Judged
from evals.cell_result import is_weak, result_of
from evals.contenders import Contender
from evals.figure_text import NONE, finite, number, with_interval
from evals.scoreboard import Figure
from evals.step_choice import BEST, LAST, best_steps, kept_steps
from evals.thumbnails import IMAGES_SHOWN, SEALED_SHOWN, STEPS_SHOWN, Thumbnails
from sae.feature import Feature
from tools.protocols import Interval

MOST_BYTES = 5_500_000
"""Of all features together; where it is passed, fewer steps are kept."""
LONGEST_TEXT = 400
CHOICES = ((BEST, LAST), (4, 2), (2, 1), (1, 0))
FIGURES = (
    *("Verdict", "Confidence", "Own score", "Search AUROC", "AUROC", "max-MAD", "Fires", "AUPRC", "F1"),
    *("Corr.", "Specificity", "Optimism", "Images", "LLM calls", "Tokens", "$", "Seconds"),
)
"""What stands beside a name, in this order."""

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


class Details(NamedTuple):
    """The details of every feature, and how many steps of a search were kept."""

    texts: tuple[str, ...]
    best: int
    last: int


def details(
    features: Mapping[Feature, Mapping[str, Cell]],
    shown: Sequence[Contender],
    *,
    carried: Thumbnails,
    most: int = MOST_BYTES,
) -> Details:
    """JSON of every feature in their order, with as many steps as fit into so many bytes."""
    places = {each.condition: at for at, each in enumerate(shown)}
    for best, last in CHOICES:
        texts = tuple(
            inert_json(_feature(cells, places, carried=carried, best=best, last=last))
            for cells in features.values()
        )
        if sum(len(text.encode()) for text in texts) <= most:
            break
    return Details(texts, best, last)


def inert_json(value: Json) -> str:
    """JSON that can stand in an HTML script element whatever texts it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


class _Texts:
    """Texts by number, so that one said often is carried once."""

    def __init__(self) -> None:
        self.all: dict[str, int] = {}

    def place(self, text: str | None) -> int | None:
        if text is None:
            return None
        return self.all.setdefault(text[:LONGEST_TEXT], len(self.all))


def _feature(
    cells: Mapping[str, Cell], places: Mapping[str, int], *, carried: Thumbnails, best: int, last: int
) -> Json:
    texts = _Texts()
    told: list[Json] = [
        {
            "c": places[cell.condition],
            "n": texts.place(cell.answer.name),
            "r": result_of(cell),
            "w": is_weak(cell),
            "f": [texts.place(text) for text in _figures(cell)],
            "e": texts.place(cell.answer.code),
            "run": cell.answer.run,
            "s": _sealed(cell, carried),
            "t": _steps(cell, kept_steps(cell.answer.steps, best=best, last=last), carried, texts),
            "of": len(cell.answer.steps),
        }
        for cell in sorted(
            (cell for cell in cells.values() if cell.condition in places),
            key=lambda cell: places[cell.condition],
        )
    ]
    return {"x": list(texts.all), "c": told}


def _figures(cell: Cell) -> list[str]:
    answer = cell.answer
    told = [answer.verdict or NONE, number(answer.confidence), number(answer.score, 3)]
    return [*told, number(answer.search_score), *_judged(cell.judged or Judged()), *_cost(answer)]


def _judged(judged: Judged) -> list[str]:
    cosy, recall = judged.cosy, judged.recall
    return [
        *((_with_ends(cosy.auroc, cosy.auroc_ci), number(cosy.max_mad)) if cosy else (NONE, NONE)),
        _with_ends(cosy.activation_rate, cosy.activation_rate_ci) if cosy else NONE,
        *map(number, (recall.auprc, recall.f1, recall.correlation) if recall else (None, None, None)),
        number(judged.specificity),
        number(judged.optimism),
    ]


def _with_ends(value: float, ends: Interval) -> str:
    return with_interval(Figure(value=value, low=ends.low, high=ends.high))


def _cost(answer: Answer) -> list[str]:
    cost = answer.cost
    known = cost.prompt_tokens is not None and cost.completion_tokens is not None
    tokens = (cost.prompt_tokens or 0) + (cost.completion_tokens or 0) if known else None
    counts = [str(answer.images), str(cost.llm_calls), number(tokens, 0)]
    return [*counts, number(cost.usd, 4), number(cost.seconds, 1)]


def _sealed(cell: Cell, carried: Thumbnails) -> list[Json]:
    if cell.judged is None:
        return []
    pairs = zip(cell.judged.images, cell.judged.activations, strict=False)
    return [_tile(carried.place(image), value) for image, value in list(pairs)[:SEALED_SHOWN]]


def _steps(cell: Cell, kept: Sequence[int], carried: Thumbnails, texts: _Texts) -> list[Json]:
    pictured = set(best_steps(cell.answer.steps, STEPS_SHOWN))
    told: list[Json] = []
    for at in kept:
        step = cell.answer.steps[at]
        values = (*step.activations, *[None] * len(step.images))
        tiles: list[Json] = [
            _tile(carried.place(image), value)
            for image, value in list(zip(step.images, values, strict=False))[:IMAGES_SHOWN]
        ]
        told.append(
            [
                at + 1,
                texts.place(step.text),
                _short(step.score),
                texts.place(step.note),
                texts.place(step.best),
                step.charged,
                tiles if at in pictured else [],
            ]
        )
    return told


def _tile(place: int, activation: float | None) -> Json:
    return [place, _short(activation)]


def _short(value: float | None) -> float | None:
    known = finite(value)
    return None if known is None else float(f"{known:.3g}")
