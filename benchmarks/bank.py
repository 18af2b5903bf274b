"""``python benchmarks/bank.py --images 1000000 --features 65536 --l0 32``: what a bank of a size costs.

First rows go the way of a run: added in batches, then compacted. Then segments are written from random codes
until the bank has its size, all are merged, and it is asked: warm, and cold, with no page of it in memory.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.bank_codes import batch_of, rows_of, world
from tools import keys
from tools.bank import Bank
from tools.bank_place import place_of
from tools.bank_segment import columns_of, write_columns
from tools.bank_tail import Swap, Tail
from tools.redis_client import connect
from tools.redis_server import stop

SCORE, GENERATOR = "score", "generator"
BATCH = 64
"""Images that a run banks at a time."""


class Stopwatch:
    """Says what took how long, and the most memory of our own it took."""

    def __init__(self) -> None:
        self.peak = 0

    @contextmanager
    def timed(self, what: str, *, of: int | None = None) -> Iterator[None]:
        """``of``: how many images, for the rate."""
        self.peak, ended = 0, threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,), daemon=True)
        watcher.start()
        begun, worked = time.perf_counter(), time.process_time()
        yield
        seconds, spent = time.perf_counter() - begun, time.process_time() - worked
        ended.set()
        watcher.join()
        rate = "" if of is None else f"   {of / seconds:10,.0f} images/s"
        peak = f"peak {self.peak / 2**20:6.0f} MiB"
        say(f"{what:<34} {seconds:9.2f} s   processor {spent:8.2f} s   {peak}{rate}")

    def _watch(self, ended: threading.Event) -> None:
        while True:
            self.peak = max(self.peak, own_memory())
            if ended.wait(0.05):
                return


def own_memory() -> int:
    """Bytes of this process that are no file's pages; 0 where the system does not tell."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(text.partition("RssAnon:")[2].split()[0]) * 1024


def say(line: str) -> None:
    """A line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def times(call: Callable[[int], object], given: Sequence[int]) -> str:
    """Median and 95th percentile over the arguments, and the median of the processor's time alone."""
    taken, spent = [], []
    for each in given:
        begun, worked = time.perf_counter(), time.process_time()
        call(each)
        taken.append(1e3 * (time.perf_counter() - begun))
        spent.append(1e3 * (time.process_time() - worked))
    high = sorted(taken)[int(0.95 * (len(taken) - 1))]
    return (
        f"median {statistics.median(taken):8.2f} ms   p95 {high:8.2f} ms   "
        f"processor {statistics.median(spent):8.2f} ms   of {len(taken)}"
    )


def forget_pages(folder: Path) -> None:
    """Have the kernel drop what it holds of the files."""
    os.sync()
    for path in folder.rglob("*.npy"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


class Bench:
    """One bank, its Redis and its folder."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder = args, folder
        self.client = connect(None, folder / "r")
        self.tail = Tail(self.client, score=SCORE, generator=GENERATOR)
        self.watch = Stopwatch()
        self.world = world(args.features, args.l0, seed=args.seed)

    def open(self) -> Bank:
        """The bank as another process would open it."""
        return Bank(
            self.client, score=SCORE, generator=GENERATOR, folder=self.folder / "bank", compact_from=None
        )

    def as_runs_do(self) -> None:
        """Add in batches, and compact."""
        count = self.args.added
        rows, bank = rows_of(self.world, count, first=0), self.open()
        with self.watch.timed("added to the tail", of=count):
            for start in range(0, count, BATCH):
                bank.add(rows[start : start + BATCH])
        builders = (keys.bank_tail, keys.bank_images)
        used = [self.client.memory_usage(build(SCORE, GENERATOR), samples=0) for build in builders]
        say(f"{'Redis, a row of the tail':<34} {sum(each or 0 for each in used) / count:9.0f} bytes")
        say(f"{'responses from the tail alone':<34} {times(bank.responses, self.some(50))}")
        with self.watch.timed("tail made a segment", of=count):
            bank.compact()

    def in_bulk(self) -> None:
        """Segments from random codes, until the bank has its size."""
        args, bank = self.args, self.open()
        place = place_of(self.folder / "bank", bank.name)
        with self.watch.timed("segments written", of=args.images - args.added):
            for start in range(args.added, args.images, args.segment_rows):
                manifest = self.tail.read("", 0, most=1).manifest
                count = min(args.segment_rows, args.images - start)
                batch = batch_of(self.world, count, first=manifest.prompts)
                with place.draft() as draft:
                    entry = write_columns(columns_of(batch), draft)
                    self.tail.announce(entry.name)
                    place.publish(draft, entry.name)
                end = len(manifest.entries)
                if not self.tail.swap(Swap(manifest, entry, slice(end, end))):
                    raise RuntimeError("Another process changes this bank.")
        self.tell_lookups("responses, before the merge")
        with self.watch.timed("merged into one segment", of=args.images):
            bank.compact(whole=True)

    def tell_lookups(self, what: str) -> None:
        """Warm."""
        bank = self.open()
        for index in self.some(self.args.lookups):
            bank.responses(index)
        say(f"{what:<34} {times(bank.responses, self.some(self.args.lookups))}")

    def ask(self) -> None:
        """Warm."""
        args, bank = self.args, self.open()
        with self.watch.timed("opened"):
            size = bank.describe()
        held = f"{size.bytes / 2**20:9.0f} MiB, {size.bytes / size.rows:.0f} bytes an image"
        counted = f"{size.rows} images, {size.prompts} prompts, {size.segments} segments"
        say(f"{'on the disk':<34} {held}, {counted}")
        self.tell_lookups("responses, warm")
        dense = np.argsort(np.bincount(self.world.table))[-20:].tolist()
        say(f"{'responses, the 20 densest':<34} {times(bank.responses, dense)}")
        few = times(lambda index: bank.prompts_that_fire(index, top=12), self.some(args.lookups))
        say(f"{'prompts_that_fire':<34} {few}")
        image = np.load(next((self.folder / "bank" / bank.name).glob("*/image.npy")), mmap_mode="r")
        ids = [each.tobytes().hex() for each in image[:: -(-len(image) // 50)]]
        say(f"{'row of an image':<34} {times(lambda at: bank.row(ids[at]), range(len(ids)))}")
        with self.watch.timed("n_firing, all features", of=args.images):
            bank.n_firing(np.ones(args.features, np.float32))

    def ask_cold(self) -> None:
        """With no page of the files in memory."""
        for each in self.some(3):
            gc.collect()
            forget_pages(self.folder / "bank")
            bank = self.open()
            say(f"{'responses, all cold, the first':<34} {times(bank.responses, [each])}")
            say(f"{'responses, cold, those after':<34} {times(bank.responses, self.some(50))}")
            del bank

    def some(self, count: int) -> list[int]:
        """Features at random."""
        return [int(each) for each in self.world.rng.integers(0, self.args.features, count)]


def main() -> None:
    """Measure in a folder, which says on which disk; it is left as it was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=65_536)
    parser.add_argument("--l0", type=int, default=32)
    parser.add_argument("--added", type=int, default=20_000, help="images that are added as runs do")
    parser.add_argument("--segment-rows", type=int, default=2**19)
    parser.add_argument("--lookups", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="bank-") as folder:
        bench = Bench(args, Path(folder))
        try:
            bench.as_runs_do()
            bench.in_bulk()
            bench.ask()
            bench.ask_cold()
        finally:
            bench.client.close()
            stop(Path(folder) / "r")


if __name__ == "__main__":
    main()
