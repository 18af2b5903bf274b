"""What ``namesae sae taxonomy`` does."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from namesae.reporters import tell, write_json
from namesae.sae_images import ImageChoice
from namesae.sae_looking import Desk, explained, index_of, open_desk, sayer
from sae.code_index import CodeIndex
from sae.taxonomy import Taxonomy, layer_of, taxonomy
from sae.whole_file import whole_file

JSON_FILE, MATCHES_FILE, CLASSES_FILE = "taxonomy.json", "matches.csv", "classes.csv"
SHOWN = 12
"""Classes that are told best, on the terminal."""


class TaxonomyWanted(NamedTuple):
    """What was asked for."""

    dictionaries: tuple[str, ...]
    out: Path | None = None
    images: ImageChoice | None = None
    threshold: float = 0.5
    quiet: bool = False
    as_json: bool = False


def show_taxonomy(wanted: TaxonomyWanted) -> int:
    """Compare, write the files that are asked for, and show tables."""
    desks = [open_desk(name, say=sayer(wanted.quiet)) for name in wanted.dictionaries]
    with explained():
        source = desks[0].source(wanted.images)
        read = [index_of(desk, source) for desk in desks]
        layers = [layer_of(_short(desk), index) for desk, index in zip(desks, read, strict=True)]
        found = taxonomy(layers, labels=_labels(read[0]), threshold=wanted.threshold)
    if wanted.out is not None:
        write_taxonomy(found, wanted.out)
    if wanted.as_json:
        write_json("taxonomy", found.model_dump(mode="json"), out=sys.stdout)
        return 0
    for line in taxonomy_lines(found):
        tell(line, sys.stdout)
    if wanted.out is not None:
        tell(str(wanted.out / JSON_FILE), sys.stdout)
    return 0


def taxonomy_lines(found: Taxonomy) -> list[str]:
    """Tables for a terminal: every ordered pair, what is found nowhere else, and the classes."""
    rows: list[tuple[str, ...]] = [("of", "in", "compared", f"r >= {found.threshold:g}", "median r", "CKNNA")]
    rows += [
        (
            each.dictionary,
            each.other,
            str(each.compared),
            *map(_figure, (each.share, each.median, each.cknna)),
        )
        for each in found.overlaps
    ]
    told = zip(found.dictionaries, found.own, strict=True)
    lines = [f"Features found again, over {found.images:,} images", *_aligned(rows), ""]
    lines += [f"{len(own):,} features of {name} are found in none of the others" for name, own in told]
    if found.homes:
        best = sorted(found.homes, key=lambda home: -max(each.correlation for each in home.best))[:SHOWN]
        heads: list[tuple[str, ...]] = [("class", *found.dictionaries, "told best by")]
        cells: list[tuple[str, ...]] = [
            (home.label, *(f"#{each.other} {each.correlation:.2f}" for each in home.best), home.dictionary)
            for home in best
        ]
        lines += [
            "",
            "The feature that goes with a class best, and its correlation",
            *_aligned(heads + cells),
        ]
    return lines


def write_taxonomy(found: Taxonomy, folder: Path) -> None:
    """taxonomy.json, matches.csv with a line for every feature and pair, classes.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    heads = ("dictionary", "feature", "other_dictionary", "other_feature", "correlation", "mutual")
    _write_rows(
        folder / MATCHES_FILE,
        heads,
        (
            (
                each.dictionary,
                match.feature,
                each.other,
                match.other,
                f"{match.correlation:.6f}",
                int(match.mutual),
            )
            for each in found.overlaps
            for match in each.matches
        ),
    )
    _write_rows(
        folder / CLASSES_FILE,
        ("class", "images", "dictionary", "feature", "correlation", "told_best"),
        (
            (
                home.label,
                home.images,
                name,
                best.other,
                f"{best.correlation:.6f}",
                int(name == home.dictionary),
            )
            for home in found.homes
            for name, best in zip(found.dictionaries, home.best, strict=True)
        ),
    )
    with whole_file(folder / JSON_FILE) as partial:
        partial.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _write_rows(path: Path, heads: Sequence[str], rows: Iterable[Sequence[str | int]]) -> None:
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(heads)
        writer.writerows(rows)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _labels(index: CodeIndex) -> list[str | None]:
    return [index.label(row) for row in range(index.card.n_images)] if index.card.classes else []


def _short(desk: Desk) -> str:
    return Path(desk.listed.name).name
