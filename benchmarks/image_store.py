"""``python benchmarks/image_store.py``: what one picture costs in the image store, one by one and in batches.

Prints the median over the repeats, in milliseconds a picture, and the slowest repeat beside it: an fsync
waits for whatever else the machine is doing. Every picture is new and every repeat has a store of its own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tools.image_store import ImageStore

SIDE = 64
Put = Callable[[ImageStore, list[Image.Image]], None]


def one_by_one(store: ImageStore, pictures: list[Image.Image]) -> None:
    """A put for every picture."""
    for picture in pictures:
        store.put(picture)


def in_batches(size: int) -> Put:
    """A put for every ``size`` pictures, as a generator draws them."""

    def put(store: ImageStore, pictures: list[Image.Image]) -> None:
        for start in range(0, len(pictures), size):
            store.put_many(pictures[start : start + size])

    return put


WAYS: dict[str, Put] = {
    "one by one": one_by_one,
    "16 at a time": in_batches(16),
    "all at once": lambda store, pictures: in_batches(len(pictures))(store, pictures),
}


def seconds(put: Put, folder: Path, *, pictures: list[Image.Image]) -> float:
    """Seconds that a fresh store takes for the pictures."""
    store = ImageStore(folder)
    begun = time.perf_counter()
    put(store, pictures)
    return time.perf_counter() - begun


def measure(parent: Path, *, images: int, repeats: int) -> Iterator[str]:
    """A line for every way, measured in turns so that a busy moment hits all of them."""
    rng = np.random.default_rng(0)
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory(dir=parent) as root:
        for repeat in range(repeats):
            for name, put in WAYS.items():
                noise = rng.integers(0, 256, (images, SIDE, SIDE, 3), dtype=np.uint8)
                pictures = [Image.fromarray(each) for each in noise]
                taken[name].append(seconds(put, Path(root) / f"{name} {repeat}", pictures=pictures) / images)
    for name, each in taken.items():
        yield f"{name:<14} {1e3 * statistics.median(each):8.1f} ms   at most {1e3 * max(each):8.1f} ms"


def main() -> None:
    """Measure in a folder, which says on which disk."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    for line in measure(args.folder, images=args.images, repeats=args.repeats):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
