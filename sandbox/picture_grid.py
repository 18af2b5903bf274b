"""Labelled rows of small pictures as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from sae.whole_file import whole_file

MOST_BYTES = 200_000
CELL = 64
GAP = 6
CAPTION = 13
MARGIN = 12
SIZE = 12
INK, QUIET, PAPER, GONE = "#1b1b1f", "#6a6a72", "#ffffff", "#e4e4e7"


class Cell(NamedTuple):
    """A picture and a word under it."""

    picture: Image.Image | None
    """None where there is none to show: a grey square."""
    caption: str = ""


class Row(NamedTuple):
    """A line of pictures; it wraps after as many as a grid has columns."""

    label: str
    note: str
    cells: tuple[Cell, ...]


class Grid(NamedTuple):
    """Rows under a title."""

    title: str
    rows: tuple[Row, ...]
    columns: int
    label_width: int = 210
    """Pixels at the left for what rows say."""


def draw_grid(grid: Grid) -> Image.Image:
    """The grid as an RGB picture, each picture in a square of 64 pixels."""
    heights = [_lines(row, grid.columns) * _line(row) + GAP for row in grid.rows]
    width = 2 * MARGIN + grid.label_width + grid.columns * (CELL + GAP)
    top = MARGIN + 2 * SIZE
    paper = Image.new("RGB", (width, top + sum(heights) + MARGIN), PAPER)
    pen = ImageDraw.Draw(paper)
    _write(pen, (MARGIN, MARGIN - 2), grid.title, width=width - 2 * MARGIN, size=SIZE + 3)
    for row, height in zip(grid.rows, heights, strict=True):
        room = grid.label_width - GAP
        _write(pen, (MARGIN, top + 4), row.label, width=room)
        _write(pen, (MARGIN, top + 4 + SIZE + 5), row.note, width=room, ink=QUIET, size=SIZE - 1)
        for at, cell in enumerate(row.cells):
            left = MARGIN + grid.label_width + at % grid.columns * (CELL + GAP)
            above = top + at // grid.columns * _line(row)
            _paste(paper, cell.picture, (left, above))
            _write(pen, (left, above + CELL), cell.caption, width=CELL + GAP - 2, ink=QUIET, size=SIZE - 2)
        top += height
    return paper


def write_grid(grid: Grid, path: Path, *, most_bytes: int = MOST_BYTES) -> Path:
    """Write the grid as PNG below ``most_bytes``, with as many colours of a palette as that allows.

    ValueError where 16 colours do not do.
    """
    drawn = draw_grid(grid)
    for colours in (256, 128, 64, 32, 16):
        held = io.BytesIO()
        drawn.quantize(colours, dither=Image.Dither.NONE).save(held, format="PNG", optimize=True)
        if len(held.getvalue()) < most_bytes:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as partial:
                partial.write_bytes(held.getvalue())
            return path
    raise ValueError(
        f"Grid {path.name} has {len(held.getvalue())} bytes in 16 colours, more than {most_bytes}: give it "
        "fewer rows."
    )


def _lines(row: Row, columns: int) -> int:
    return max(1, -(-len(row.cells) // columns))


def _line(row: Row) -> int:
    return CELL + GAP + (CAPTION if any(cell.caption for cell in row.cells) else 0)


def _paste(paper: Image.Image, picture: Image.Image | None, at: tuple[int, int]) -> None:
    if picture is None:
        paper.paste(GONE, (*at, at[0] + CELL, at[1] + CELL))
        return
    square = picture.convert("RGB")
    if square.size != (CELL, CELL):
        square = square.resize((CELL, CELL), Image.Resampling.LANCZOS)
    paper.paste(square, at)


def _write(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    *,
    width: int,
    ink: str = INK,
    size: int = SIZE,
) -> None:
    font = ImageFont.load_default(size)
    line = text
    while line and pen.textlength(line, font=font) > width:
        line = line[:-1]
    pen.text(at, line, fill=ink, font=font)


def cells_of(pictures: Sequence[Image.Image | None]) -> tuple[Cell, ...]:
    """Pictures without captions."""
    return tuple(Cell(picture) for picture in pictures)
