"""The contact sheet: one PNG of what a feature fires on, each picture with its activation under it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from agent.records import Explanation, Trial
from namesae.lines import NO_NAME, score_text, verdict_text
from sae.whole_file import whole_file
from tools.errors import IntegrityError
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
INK, QUIET, PAPER, FIRE, GONE = "#1b1b1f", "#6a6a72", "#ffffff", "#c2410c", "#e4e4e7"


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


def write_contact_sheet(explanation: Explanation, store: StoresImages, *, path: Path) -> Path:
    """Write the sheet as PNG in one step and return its path; a picture gone from the store is left grey."""
    sheet = draw_contact_sheet(explanation, store)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        sheet.save(partial, format="PNG")
    return path


def draw_contact_sheet(explanation: Explanation, store: StoresImages) -> Image.Image:
    """The sheet as an RGB picture."""
    strips = strips_of(explanation)
    sheet = _Sheet(HEADER + 2 * MARGIN + sum(strip.height for strip in strips))
    _draw_header(sheet, explanation)
    threshold = explanation.evidence.facts.threshold if explanation.evidence else 0.0
    top = HEADER + MARGIN
    for strip in strips:
        sheet.write((MARGIN, top + 4), strip.label, size=15, width=LABEL - GAP)
        sheet.write((MARGIN, top + 24), strip.note, size=11, ink=QUIET, width=LABEL - GAP)
        for at, shown in enumerate(strip.shown):
            left = MARGIN + LABEL + at % COLUMNS * (CELL + GAP)
            above = top + at // COLUMNS * strip.line
            ink = FIRE if shown.activation > threshold else QUIET
            sheet.paste((left, above), _picture(store, shown.image))
            sheet.write((left, above + CELL + 1), f"{shown.activation:.2f}", size=12, ink=ink)
            width = shown.span * (CELL + GAP) - GAP
            sheet.write((left, above + CELL + CAPTION), shown.prompt, size=11, width=width)
        top += strip.height
    return sheet.image


class _Sheet:
    """White paper to write and paste on; places are (left, top) in pixels."""

    def __init__(self, height: int) -> None:
        self.image = Image.new("RGB", (2 * MARGIN + LABEL + COLUMNS * (CELL + GAP), height), PAPER)
        self._pen = ImageDraw.Draw(self.image)

    def paste(self, at: tuple[int, int], picture: Image.Image | None) -> None:
        """A picture as a cell; grey where there is none."""
        if picture is None:
            self._pen.rectangle((*at, at[0] + CELL - 1, at[1] + CELL - 1), fill=GONE)
            return
        small = max(picture.size) < CELL // 2
        how = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
        self.image.paste(picture.resize((CELL, CELL), how), at)

    def write(
        self, at: tuple[int, int], text: str, *, size: int, ink: str = INK, width: int | None = None
    ) -> None:
        """One line of text, cut to ``width``."""
        font = ImageFont.load_default(size)
        line = " ".join(text.split())
        if width is not None and self._pen.textlength(line, font=font) > width:
            while line and self._pen.textlength(f"{line}...", font=font) > width:
                line = line[:-1]
            line = f"{line}..."
        self._pen.text(at, line, fill=ink, font=font)


def _draw_header(sheet: _Sheet, explanation: Explanation) -> None:
    sheet.write((MARGIN, MARGIN), explanation.name or NO_NAME, size=28)
    said = f"{explanation.feature}   {verdict_text(explanation)}"
    figures = "" if explanation.sealed is None else f"   {score_text(explanation.sealed)}"
    sheet.write((MARGIN, MARGIN + 38), said + figures, size=13, ink=QUIET)
    legend = "activations in orange are above the firing threshold"
    sheet.write((MARGIN, MARGIN + 57), legend, size=11, ink=QUIET)


def _picture(store: StoresImages, image: str) -> Image.Image | None:
    try:
        return store.get(image).convert("RGB")
    except (KeyError, IntegrityError):
        return None


def _ordered(shown: Iterable[Shown]) -> tuple[Shown, ...]:
    return tuple(sorted(shown, key=lambda each: -each.activation))
