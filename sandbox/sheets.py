"""``python -m sandbox.sheets --out docs/images``: the world, the generator, the dictionaries in pictures."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sandbox.picture_grid import Cell, Grid, Row, cells_of, write_grid
from sandbox.truth import TruthRow, load_truth
from sandbox.world.captions import full_parts, phrase
from sandbox.world.renderer import render
from sandbox.world.scene import Scene, draw_scene
from sandbox.world.vocabulary import ATTRIBUTES, COUNT_WORDS
from tools.protocols import DrawImages, DrawRequest, StoresImages

MODELS = Path(__file__).parent / "models"
USUAL = Scene("fish", "red", "plain", "sand", "big", 1)
"""The scene of which the sheet of the world changes one thing at a time."""
WORDS = ("castle", "butterfly", "vehicle", "purple", "dotted", "checkered", "night")
CAPTIONS, SEEDS = 7, 6
FIRST_SEED = 7_000_000
"""Of the sheet's drawings; no test and no measurement uses these."""
FEATURES, STRONGEST = 12, 8


def world_grid() -> Grid:
    """Every value of every attribute, the rest of the scene unchanged."""
    rows = [
        Row(attribute, "", tuple(Cell(_with(attribute, value), value) for value in values))
        for attribute, values in ATTRIBUTES.items()
    ]
    return Grid("The drawn world: one thing changed at a time", tuple(rows), columns=10, label_width=110)


def _with(attribute: str, value: str) -> Image.Image:
    counts = {word: count for count, word in COUNT_WORDS.items()}
    changed: dict[str, Any] = {attribute: counts.get(value, value)}
    return render(USUAL._replace(**changed), 1)


def unseen_captions(count: int) -> list[str]:
    """Full captions of scenes no model was trained on, with every attribute uniform."""
    rng = random.Random("sheets")
    return [phrase(full_parts(draw_scene(rng, balanced=1.0, held_out=True))) for _ in range(count)]


def generator_grid(draw: DrawImages, store: StoresImages, *, prompts: Sequence[str], seeds: int) -> Grid:
    """A row for every prompt, the same seeds in each."""
    wanted = range(FIRST_SEED, FIRST_SEED + seeds)
    drawn = draw([DrawRequest(prompt=prompt, seed=seed) for prompt in prompts for seed in wanted])
    pictures = [store.get(each.image) if each.image else None for each in drawn]
    rows = [
        Row(prompt, "", cells_of(pictures[at * seeds : (at + 1) * seeds]))
        for at, prompt in enumerate(prompts)
    ]
    title = f"Drawn by {draw.card.generator}: {seeds} seeds a prompt"
    return Grid(title, tuple(rows), columns=seeds, label_width=300)


def best_features(rows: Sequence[TruthRow], *, count: int) -> list[TruthRow]:
    """The features of highest F1, one for every concept, best first."""
    best: dict[str, TruthRow] = {}
    for row in sorted(rows, key=lambda each: (-each.f1, each.index)):
        if row.concept:
            best.setdefault(row.concept, row)
    return list(best.values())[:count]


def dictionary_grid(
    name: str,
    rows: Sequence[TruthRow],
    activations: npt.NDArray[np.float32],
    *,
    picture: Callable[[int], Image.Image],
) -> Grid:
    """A row for every feature of ``rows``: the strongest of n scenes, by (n, F) activations."""
    shown = []
    for row in rows:
        column = activations[:, row.index]
        strongest = [int(at) for at in np.argsort(-column, kind="stable")[:STRONGEST] if column[at] > 0]
        cells = tuple(Cell(picture(at), f"{column[at]:.2f}") for at in strongest)
        shown.append(Row(row.concept, f"#{row.index}, {row.f1:.2f} F1", cells))
    title = f"{name}: features of highest F1 on the {len(activations):,} held-out scenes, strongest pictures"
    return Grid(title, tuple(shown), columns=STRONGEST, label_width=190)


def _world(models: Path) -> Iterator[tuple[str, Grid]]:
    yield "world", world_grid()


def _generator(models: Path) -> Iterator[tuple[str, Grid]]:
    from tools.drawing import load_generator
    from tools.fakes import MemoryImageStore

    store = MemoryImageStore()
    draw = load_generator(str(models / "sd"), store)
    prompts = (*WORDS, *unseen_captions(CAPTIONS))
    yield "generator", generator_grid(draw, store, prompts=prompts, seeds=SEEDS)


def _dictionaries(models: Path) -> Iterator[tuple[str, Grid]]:
    from sandbox.activations import measure
    from sandbox.heldout import held_out

    for folder in sorted(path.parent for path in models.glob("*/truth.json")):
        rows = best_features(load_truth(folder), count=FEATURES)
        grid = dictionary_grid(folder.name, rows, measure(folder).activations, picture=held_out().picture)
        yield f"dictionary-{folder.name}", grid


SHEETS: dict[str, Callable[[Path], Iterator[tuple[str, Grid]]]] = {
    "world": _world,
    "generator": _generator,
    "dictionaries": _dictionaries,
}


def main() -> None:
    """Write the asked sheets and print their paths."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.sheets", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the PNG files")
    parser.add_argument("--only", choices=tuple(SHEETS), action="append", help="a kind of sheet; repeatable")
    parser.add_argument("--models", type=Path, default=MODELS)
    args = parser.parse_args()
    for kind in args.only or SHEETS:
        for name, grid in SHEETS[kind](args.models):
            path = write_grid(grid, args.out / f"{name}.png")
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
