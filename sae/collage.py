"""Collages of the images a feature is strongest on, and the table in which people write what they see."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from PIL import Image, ImageOps
from pydantic import ValidationError

from sae.code_index import CodeIndex
from sae.errors import BadInterpretations
from sae.feature import Frozen
from sae.image_source import ImageSource
from sae.whole_file import whole_file

TILE = 224
"""Side of a picture in a collage, pixels."""
CSV_FILE = "interpretations.csv"
MADE_FROM = "made-from.json"
COLLAGES = "collages"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""A cell that begins so is a formula to a spreadsheet, or would be taken for an escaped one."""


class Grid(NamedTuple):
    """How pictures are laid out."""

    rows: int = 4
    columns: int = 3


GRID = Grid()


class Interpretation(Frozen):
    """One line of the table."""

    feature_rank: int
    """From 1, by mean activation."""
    feature_id: int
    collage_path: str
    """Relative to the table."""
    activation_mean: float
    """Over all images, those on which the feature is not active included."""
    activation_max: float
    num_images: int
    """In the collage."""
    interpretation: str = ""


COLUMNS = tuple(Interpretation.model_fields)


class Style(NamedTuple):
    """How collages are drawn and what is written beside them."""

    grid: Grid = GRID
    tile: int = TILE
    names: Mapping[int, str] = MappingProxyType({})
    """Stored names of features."""
    log: Callable[[Interpretation], None] = lambda _: None


def draw_collage(
    pictures: Sequence[Image.Image | None], grid: Grid = GRID, *, tile: int = TILE
) -> Image.Image:
    """Pictures in rows from the top left, each cut to a square; None is left grey, missing ones white."""
    sheet = Image.new("RGB", (grid.columns * tile, grid.rows * tile), "white")
    for at, picture in enumerate(pictures[: grid.rows * grid.columns]):
        place = (at % grid.columns * tile, at // grid.columns * tile)
        sheet.paste(_square(picture, tile), place)
    return sheet


def write_collages(
    index: CodeIndex,
    source: ImageSource,
    *,
    features: Sequence[int],
    out: Path,
    style: Style | None = None,
) -> list[Interpretation]:
    """Draw a collage for each feature into ``out``/collages, then write the table; its lines.

    A feature's interpretation is what the table said before, else its stored name: what a person wrote there
    stays, and so do the lines of features that are not drawn now. A feature that is never active has a line
    and no collage. BadInterpretations where ``out`` holds another dictionary's table, or something else.
    """
    style = style or Style()
    rows = {row.feature_id: row for row in _earlier(index, out)}
    (out / COLLAGES).mkdir(parents=True, exist_ok=True)
    for feature in by_mean(index, features):
        before = rows[feature].interpretation if feature in rows else ""
        drawn = _drawn(index, source, feature=feature, out=out, style=style)
        rows[feature] = drawn.model_copy(update={"interpretation": before or drawn.interpretation})
        style.log(rows[feature])
    ordered = sorted(rows.values(), key=lambda row: -row.activation_mean)
    ranked = [row.model_copy(update={"feature_rank": at}) for at, row in enumerate(ordered, start=1)]
    with whole_file(out / COLLAGES / MADE_FROM) as partial:
        partial.write_text(json.dumps({"identity": index.card.identity, "source": index.card.source}))
    write_interpretations(ranked, out / CSV_FILE)
    return ranked


def by_mean(index: CodeIndex, features: Iterable[int]) -> list[int]:
    """Different features by mean activation, highest first."""
    return sorted(dict.fromkeys(features), key=lambda feature: -float(index.columns.means[feature]))


def write_interpretations(rows: Iterable[Interpretation], path: Path) -> None:
    """Write the table, in one step. No text in it is a formula to a spreadsheet."""
    held = io.StringIO(newline="")
    writer = csv.writer(held)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(_guarded(value) for value in row.model_dump().values())
    with whole_file(path) as partial:
        partial.write_bytes(held.getvalue().encode())


def read_interpretations(path: Path) -> list[Interpretation]:
    """The table, texts as they were before they were guarded. BadInterpretations where it is none."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            if tuple(lines.fieldnames or ()) != COLUMNS:
                raise ValueError(f"columns {lines.fieldnames}")
            return [Interpretation.model_validate(_bare(line)) for line in lines]
    except (OSError, ValueError, csv.Error, ValidationError) as error:
        raise BadInterpretations(
            f"{path} is not a table of interpretations with the columns {', '.join(COLUMNS)}; move it away, "
            "or give another folder."
        ) from error


def _guarded(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _bare(line: Mapping[str | None, str]) -> dict[str | None, str]:
    return {
        name: value[1:] if value[:1] == "'" and value[1:].startswith(_FORMULA) else value
        for name, value in line.items()
    }


def _earlier(index: CodeIndex, out: Path) -> list[Interpretation]:
    """The table that is there. BadInterpretations where it is of another dictionary."""
    if not (out / CSV_FILE).exists():
        return []
    made = out / COLLAGES / MADE_FROM
    try:
        other = json.loads(made.read_text(encoding="utf-8"))["identity"] != index.card.identity
    except FileNotFoundError:
        other = False
    except (OSError, ValueError, KeyError, TypeError):
        other = True
    if other:
        raise BadInterpretations(f"{out} holds the collages of another dictionary; give another folder.")
    return read_interpretations(out / CSV_FILE)


def _drawn(index: CodeIndex, source: ImageSource, *, feature: int, out: Path, style: Style) -> Interpretation:
    """A feature's line, its collage written."""
    found = index.top(feature, count=style.grid.rows * style.grid.columns)
    path = out / COLLAGES / f"feature_{feature:05d}.png"
    if found:
        sheet = draw_collage([source.read(each.row).image for each in found], style.grid, tile=style.tile)
        with whole_file(path) as partial:
            sheet.save(partial, format="PNG")
    return Interpretation(
        feature_rank=1,
        feature_id=feature,
        collage_path=path.relative_to(out).as_posix() if found else "",
        activation_mean=round(float(index.columns.means[feature]), 6),
        activation_max=round(found[0].activation, 6) if found else 0.0,
        num_images=len(found),
        interpretation=style.names.get(feature, ""),
    )


def _square(picture: Image.Image | None, tile: int) -> Image.Image:
    if picture is None:
        return Image.new("RGB", (tile, tile), "#c8c8c8")
    # A drawing of few pixels stays sharp; a photograph is smoothed.
    how = Image.Resampling.NEAREST if 2 * max(picture.size) < tile else Image.Resampling.LANCZOS
    return ImageOps.fit(picture.convert("RGB"), (tile, tile), how)
