"""Whether maps of relevance point at the object: python -m benchmarks.relevance_sandbox.

For features that stand for an object, pictures of it are drawn with the mask of its pixels. A method is
asked where the feature looks: whether the highest point lies on the object or within a patch of it, how well
the highest pixels, as many as the object has, cover it, and what covering patches does to the feature.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ImageFilter

from sae.activations import FeatureReader, open_reader
from sae.errors import UnfitMethod
from sae.faithfulness import Areas, Faithfulness, areas, compare, curves, joined, random_areas
from sae.intervals import Estimate, Interval, bootstrap, wilson
from sae.metrics import iou
from sae.relevance.maps import METHODS, Floats, map_subject, upsample
from sae.relevance.subject import Subject, subject_of
from sae.relevance.target import feature_target
from sandbox.truth import TruthRow, load_truth
from sandbox.world.renderer import Rendering, render_with_mask
from sandbox.world.scene import draw_scene

MODELS = Path("sandbox") / "models"
DICTIONARIES = ("sandbox", "sandbox-vit", "sandbox-patch")
CHANCE = "random"

Bools = npt.NDArray[np.bool_]


class Drawn(NamedTuple):
    """Pictures of an object on which its feature is active, and what is known of them."""

    subject: Subject
    masks: Bools
    """(b, h, w) pixels of the object."""
    near: Bools
    """(b, h, w) those and all within a patch's side of them."""


class Pointed(NamedTuple):
    """How one map lies to the object."""

    hit: bool
    """The middle of its highest patch is on the object or within a patch of it."""
    inside: bool
    """It is on the object."""
    iou: float
    """Of the highest pixels, as many as the object has, with the object."""


class Line(NamedTuple):
    """A method over all pictures."""

    method: str
    images: int
    hit: float
    hit_interval: Interval
    inside: float
    iou: Estimate
    times_chance: Estimate
    """The mean IoU over that of as many pixels at random."""
    faithful: Faithfulness


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print, for each dictionary, a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dictionaries", nargs="+", default=list(DICTIONARIES))
    parser.add_argument("--images", type=int, default=20, help="pictures of each feature's object")
    parser.add_argument(
        "--covered", type=int, default=6, help="of those, pictures for deletion and insertion"
    )
    parser.add_argument("--features", type=int, default=None, help="only so many features")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="write the tables there as well")
    given = parser.parse_args(arguments)
    tables = []
    for name in given.dictionaries:
        tables.append("\n".join(_measured(name, given)))
        print(f"{tables[-1]}\n", flush=True)
    if given.out is not None:
        given.out.write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    return 0


def _measured(name: str, given: argparse.Namespace) -> Iterator[str]:
    folder = MODELS / name
    reader = open_reader(folder)
    rows = [row for row in load_truth(folder) if row.kind == "object"][: given.features]
    drawn = [
        each for row in rows if (each := draw(reader, row, count=given.images, seed=given.seed)) is not None
    ]
    images = sum(len(each.masks) for each in drawn)
    yield (
        f"**{name}**: {len(drawn)} features, {images} pictures on which they are active. A pixel at random "
        f"is on the object or within a patch of it on {near_by_chance(drawn):.0%}, on it on "
        f"{on_by_chance(drawn):.0%}; IoU of as many pixels at random: {iou_by_chance(drawn):.3f}."
    )
    yield ""
    yield from table(measure(drawn, covered=given.covered, seed=given.seed))


def draw(reader: FeatureReader, row: TruthRow, *, count: int, seed: int) -> Drawn | None:
    """``count`` held-out pictures of a feature's object, without those on which it is silent; None if all."""
    # Several features may stand for one object: each has pictures of its own.
    rng = random.Random(f"relevance/{seed}/{row.index}")
    renderings = [_rendering(row.concept, rng) for _ in range(count)]
    pixels = reader.backbone.preprocess([each.image for each in renderings])
    subject = subject_of(reader, pixels, target=feature_target(reader, row.index), seed=seed + row.index)
    active = (subject.score(subject.pixels) > 0).numpy()
    if not active.any():
        return None
    subject = subject_of(reader, pixels[active], target=subject.target, seed=subject.seed)
    shown = [each for each, on in zip(renderings, active, strict=True) if on]
    side = shown[0].image.height // subject.grid.rows
    grown = [each.mask.filter(ImageFilter.MaxFilter(2 * side + 1)) for each in shown]
    return Drawn(subject, _bools([each.mask for each in shown]), _bools(grown))


def _rendering(concept: str, rng: random.Random) -> Rendering:
    while True:
        scene = draw_scene(rng, balanced=0.5, held_out=True)
        if scene.object == concept:
            return render_with_mask(scene, rng.randrange(2**32))


def _bools(masks: Sequence[object]) -> Bools:
    return np.stack([np.asarray(mask) > 127 for mask in masks])


def measure(drawn: Sequence[Drawn], *, covered: int, seed: int) -> list[Line]:
    """A line for every method that fits the dictionary."""
    first = [_few(each.subject, covered) for each in drawn]
    chance = joined([random_areas(subject) for subject in first])
    return [
        line
        for method in METHODS
        if (line := _line(method, drawn, first=first, chance=chance, seed=seed)) is not None
    ]


def _line(
    method: str, drawn: Sequence[Drawn], *, first: Sequence[Subject], chance: Areas, seed: int
) -> Line | None:
    try:
        maps = [map_subject(each.subject, method) for each in drawn]
    except UnfitMethod:
        return None
    found = [
        pointed(*shown)
        for each, held in zip(drawn, maps, strict=True)
        for shown in zip(held, each.masks, each.near, strict=True)
    ]
    ours = [
        areas(curves(subject, held[: len(subject.pixels)])) for subject, held in zip(first, maps, strict=True)
    ]
    overlaps, hits = np.array([each.iou for each in found]), sum(each.hit for each in found)
    expected = np.concatenate([_expected(each.masks) for each in drawn])
    return Line(
        method=method,
        images=len(found),
        hit=hits / len(found),
        hit_interval=wilson(hits, len(found)),
        inside=float(np.mean([each.inside for each in found])),
        iou=bootstrap(lambda each: float(each.mean()), [overlaps], seed=seed),
        times_chance=bootstrap(_ratio, [np.stack([overlaps, expected], axis=1)], seed=seed),
        faithful=compare(joined(ours), chance, seed=seed),
    )


def pointed(held: Floats, mask: Bools, near: Bools) -> Pointed:
    """How a (rows, columns) map lies to an object's pixels (h, w); of equal values the first counts.

    The place of the maximum is asked of the patches: between pixels of the interpolated map, those at the
    edge have an advantage.
    """
    row, column = np.unravel_index(int(held.argmax()), held.shape)
    at = tuple(
        int((place + 0.5) * side / patches)
        for place, side, patches in zip((row, column), mask.shape, held.shape, strict=True)
    )
    order = np.argsort(-upsample(held, mask.shape[::-1]).ravel(), kind="stable")
    highest = np.zeros(mask.size, np.bool_)
    highest[order[: int(mask.sum())]] = True
    return Pointed(bool(near[at]), bool(mask[at]), iou(highest, mask.ravel()))


def _few(subject: Subject, count: int) -> Subject:
    return Subject(subject.reader, subject.pixels[:count], subject.target, subject.grid, subject.seed)


def _ratio(rows: npt.NDArray[np.float64]) -> float:
    return float(rows[:, 0].mean() / rows[:, 1].mean())


def _expected(masks: Bools) -> npt.NDArray[np.float64]:
    """(b,) IoU of an object that covers the share f with as many pixels at random: f / (2 - f)."""
    share = masks.mean((1, 2))
    found: npt.NDArray[np.float64] = share / (2 - share)
    return found


def near_by_chance(drawn: Sequence[Drawn]) -> float:
    """Share of all pixels on or near the object."""
    return float(np.concatenate([each.near for each in drawn]).mean())


def on_by_chance(drawn: Sequence[Drawn]) -> float:
    """Share of all pixels on the object."""
    return float(np.concatenate([each.masks for each in drawn]).mean())


def iou_by_chance(drawn: Sequence[Drawn]) -> float:
    """Mean IoU of as many pixels at random."""
    return float(np.concatenate([_expected(each.masks) for each in drawn]).mean())


def table(lines: Sequence[Line]) -> Iterator[str]:
    """Markdown; intervals are 95 %."""
    yield (
        "| method | highest on the object or a patch beside | on it | IoU | x chance | deletion | insertion "
        "| deletion, less than chance's |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for line in lines:
        faithful = line.faithful
        yield (
            f"| `{line.method}` | {line.hit:.1%} [{line.hit_interval.low:.1%}, {line.hit_interval.high:.1%}] "
            f"| {line.inside:.0%} | {line.iou.value:.2f} | {_told(line.times_chance, 1)} "
            f"| {faithful.deletion.value:.2f} | {faithful.insertion.value:.2f} "
            f"| {_told(faithful.deletion_gain, 2)} |"
        )


def _told(estimate: Estimate, digits: int) -> str:
    said: Callable[[float], str] = lambda value: f"{value:.{digits}f}"  # noqa: E731
    return f"{said(estimate.value)} [{said(estimate.interval.low)}, {said(estimate.interval.high)}]"


if __name__ == "__main__":
    sys.exit(main())
