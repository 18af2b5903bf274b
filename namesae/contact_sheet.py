"""The contact sheet: one PNG of what a feature fires on, each picture with its activation under it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from agent.records import Explanation, Trial
from namesae.lines import NO_NAME, score_text, verdict_text
from tools.protocols import StoresImages

CELL = 96
GAP = 8
CAPTION = 16
LABEL = 190
COLUMNS = 8
MARGIN = 20
HEADER = 78
PROMPTS, PER_PROMPT = 12, 2
"""Best prompts of the search that are shown, and pictures of each."""
MOST_SEALED = 64
INK, QUIET, PAPER, FIRE = "#1b1b1f", "#6a6a72", "#ffffff", "#c2410c"


class Shown(NamedTuple):
    """A picture on the sheet and what the feature did on it."""

    image: str
    activation: float
    prompt: str = ""
    """What it was drawn for, said under the first of its pictures."""
    span: int = 1
    """Pictures over which the text may run."""


class Strip(NamedTuple):
    """A labelled row of pictures; it wraps after COLUMNS."""

    label: str
    note: str
    shown: tuple[Shown, ...]

    @property
    def lines(self) -> int:
        """Lines of pictures it takes."""
        return max(1, -(-len(self.shown) // COLUMNS))

    @property
    def line(self) -> int:
        """Height of one of them, pixels."""
        return CELL + GAP + CAPTION * (2 if any(each.prompt for each in self.shown) else 1)

    @property
    def height(self) -> int:
        """Height of all, pixels."""
        return self.lines * self.line + 2 * GAP


def strips_of(explanation: Explanation) -> list[Strip]:
    """Exemplars, the best prompts of the search, and the judge's images, each row strongest first."""
    evidence = explanation.evidence
    if evidence is None:
        return []
    exemplars = _ordered(Shown(each.image, each.activation) for each in evidence.exemplars)
    sealed = _ordered(
        Shown(image, value)
        for image, value in zip(evidence.sealed_images, evidence.sealed_activations, strict=True)
    )
    strips = [Strip("Exemplars", "from the probe set", exemplars[: 2 * COLUMNS])]
    tried = [_captioned(prompt, shown[:PER_PROMPT]) for prompt, shown in best_prompts(evidence.trials)]
    strips.append(
        Strip("Best prompts", "drawn by the search", tuple(each for group in tried for each in group))
    )
    note = "drawn by the judge for the name"
    if len(sealed) > MOST_SEALED:
        note = f"the {MOST_SEALED} strongest of {len(sealed)}"
    strips.append(Strip("Sealed", note, sealed[:MOST_SEALED]))
    return [strip for strip in strips if strip.shown]


def _captioned(prompt: str, shown: Sequence[Shown]) -> list[Shown]:
    return [shown[0]._replace(prompt=prompt, span=len(shown)), *shown[1:]]


def best_prompts(trials: Iterable[Trial], *, most: int = PROMPTS) -> list[tuple[str, tuple[Shown, ...]]]:
    """The prompts of highest mean activation and their pictures, best first."""
    found: dict[str, list[Shown]] = {}
    for trial in trials:
        for image, value in zip(trial.images, trial.activations, strict=True):
            if image is not None and value is not None:
                found.setdefault(trial.proposal.prompt, []).append(Shown(image, value))
    ranked = sorted(found.items(), key=lambda item: -sum(each.activation for each in item[1]) / len(item[1]))
    return [(prompt, _ordered(shown)) for prompt, shown in ranked[:most]]


def write_contact_sheet(explanation: Explanation, store: StoresImages, path: Path) -> Path:
    """Write the sheet as PNG in one step and return its path; a picture gone from the store is left grey."""
    sheet = draw_contact_sheet(explanation, store)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    sheet.save(partial, format="PNG")
    partial.replace(path)
    return path


def draw_contact_sheet(explanation: Explanation, store: StoresImages) -> Image.Image:
    """The sheet as an RGB picture."""
    strips = strips_of(explanation)
    height = HEADER + 2 * MARGIN + sum(strip.height for strip in strips)
    width = 2 * MARGIN + LABEL + COLUMNS * (CELL + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    _header(pen, explanation)
    threshold = explanation.evidence.facts.threshold if explanation.evidence else 0.0
    top = HEADER + MARGIN
    for strip in strips:
        _text(pen, (MARGIN, top + 4), strip.label, size=15, width=LABEL - GAP)
        _text(pen, (MARGIN, top + 24), strip.note, size=11, ink=QUIET, width=LABEL - GAP)
        for at, shown in enumerate(strip.shown):
            corner = (MARGIN + LABEL + at % COLUMNS * (CELL + GAP), top + at // COLUMNS * strip.line)
            _cell(sheet, pen, _picture(store, shown.image), corner=corner)
            ink = FIRE if shown.activation > threshold else QUIET
            _text(pen, (corner[0], corner[1] + CELL + 1), f"{shown.activation:.2f}", size=12, ink=ink)
            below = (corner[0], corner[1] + CELL + CAPTION)
            _text(pen, below, shown.prompt, size=11, width=shown.span * (CELL + GAP) - GAP)
        top += strip.height
    return sheet


def _header(pen: ImageDraw.ImageDraw, explanation: Explanation) -> None:
    _text(pen, (MARGIN, MARGIN), explanation.name or NO_NAME, size=28)
    said = f"{explanation.feature}   {verdict_text(explanation)}"
    figures = "" if explanation.sealed is None else f"   {score_text(explanation.sealed)}"
    _text(pen, (MARGIN, MARGIN + 38), said + figures, size=13, ink=QUIET)
    _text(
        pen, (MARGIN, MARGIN + 57), "activations in orange are above the firing threshold", size=11, ink=QUIET
    )


def _cell(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, picture: Image.Image | None, *, corner: tuple[int, int]
) -> None:
    left, top = corner
    if picture is None:
        pen.rectangle((left, top, left + CELL - 1, top + CELL - 1), fill="#e4e4e7")
        return
    small = max(picture.size) < CELL // 2
    fitted = picture.resize((CELL, CELL), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)
    sheet.paste(fitted, corner)


def _picture(store: StoresImages, image: str) -> Image.Image | None:
    try:
        return store.get(image).convert("RGB")
    except KeyError:
        return None


def _text(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    *,
    size: int,
    ink: str = INK,
    width: int | None = None,
) -> None:
    font = ImageFont.load_default(size)
    text = " ".join(text.split())
    if width is not None and pen.textlength(text, font=font) > width:
        while text and pen.textlength(f"{text}...", font=font) > width:
            text = text[:-1]
        text = f"{text}..."
    pen.text(at, text, fill=ink, font=font)


def _ordered(shown: Iterable[Shown]) -> tuple[Shown, ...]:
    return tuple(sorted(shown, key=lambda each: -each.activation))
