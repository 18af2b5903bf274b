"""``python benchmarks/activation_store.py``: shuffled reads of an activation store beside plain copies.

Prints MB/s of activations, the median and the best of paired rounds, and what share of the sequential read
of the same files each way reaches. The files are in the page cache unless ``--cold`` drops them before every
round. A batch arrives as a tensor of its own, in the store's type (``--cast`` for float32).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from sae.store.manifest import Dtype, HookPart, ImageEntry, Plan
from sae.store.reader import ActivationStore, open_store
from sae.store.shuffle import RowStream
from sae.store.writer import TORCH, store_writer

MIB = 2**20
Read = Callable[[], int]
"""Reads every row once in batches; the bytes read."""


class Sizes(NamedTuple):
    """Of the store."""

    mib: int
    width: int
    tokens: int
    dtype: Dtype
    batch: int


def write(folder: Path, sizes: Sizes) -> ActivationStore:
    """A store of random rows."""
    row = sizes.width * TORCH[sizes.dtype].itemsize
    images = max(1, sizes.mib * MIB // (row * sizes.tokens))
    per_shard = max(1, 128 * MIB // (row * sizes.tokens))
    part = HookPart(
        hook_point="block.0", folder="block.0", scope="patch", width=sizes.width, tokens=sizes.tokens
    )
    plan = Plan(
        source="random",
        source_fingerprint="",
        images=images,
        backbone=None,
        backbone_fingerprint=None,
        parts=(part,),
        dtype=sizes.dtype,
        shard_images=per_shard,
    )
    with store_writer(folder, plan) as writer:
        for number in writer.missing():
            with writer.shard(number) as shard:
                for first in range(0, len(plan.bounds(number)), 64):
                    rows = plan.bounds(number)[first : first + 64]
                    held = torch.randn(len(rows), sizes.tokens, sizes.width)
                    shard.add([ImageEntry(row=row, image=str(row)) for row in rows], {part.folder: held})
        writer.finish()
    return open_store(folder)


def ways(store: ActivationStore, sizes: Sizes, *, cast: bool, prefetch: int) -> dict[str, Read]:
    """Every way to read the store once."""
    dtype = torch.float32 if cast else None
    streams = {
        "in order": RowStream(store, dtype=dtype),
        "shuffled": RowStream(store, dtype=dtype),
        f"shuffled, {prefetch} in advance": RowStream(store, dtype=dtype, prefetch=prefetch),
    }
    row = store.width * store.dtype.itemsize
    seeds = iter(range(10**9))

    # One read goes on through all rounds, as in training.
    endless = {name: stream.batches(sizes.batch, seed=0) for name, stream in streams.items()}

    def streamed(name: str) -> int:
        if name == "in order":
            return sum(len(batch) for batch in streams[name].once(sizes.batch)) * row
        return sum(len(batch) for batch in islice(endless[name], store.rows // sizes.batch)) * row

    def random_rows() -> int:
        mapped = [store.tensor(shard) for shard in range(len(store.pieces))]
        chance, count = np.random.default_rng(next(seeds)), store.rows // sizes.batch // 4
        ends = np.cumsum(store.pieces)
        for _ in range(count):
            rows = chance.integers(0, store.rows, sizes.batch)
            shard = np.searchsorted(ends, rows, side="right")
            for each in np.unique(shard):
                mapped[each][torch.from_numpy(rows[shard == each] - (ends[each] - store.pieces[each]))]
        return count * sizes.batch * row

    return {
        "memmap, sequential": lambda: _sequential(store, sizes.batch),
        **{name: (lambda name=name: streamed(name)) for name in streams},  # type: ignore[misc]
        "memmap, random rows": random_rows,
    }


def _sequential(store: ActivationStore, batch: int) -> int:
    """Copies of consecutive rows, batch by batch: what a shuffled read is held against."""
    read = 0
    for shard in range(len(store.pieces)):
        for rows in torch.split(store.tensor(shard), batch):
            read += rows.clone().nbytes
    return read


def measure(
    folder: Path, sizes: Sizes, *, rounds: int, cold: bool, cast: bool, prefetch: int
) -> Iterator[str]:
    """A line for every way, measured in turns so that a busy moment hits all of them."""
    store = write(folder, sizes)
    reads = ways(store, sizes, cast=cast, prefetch=prefetch)
    speeds: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(rounds):
        for name, read in reads.items():
            if cold:
                drop(folder)
            begun = time.perf_counter()
            done = read()
            speeds[name].append(done / (time.perf_counter() - begun) / 1e6)
    yield (
        f"{store.rows:,} rows of {store.width} {sizes.dtype}, batches of {sizes.batch}, {rounds} rounds, "
        f"{'cold' if cold else 'warm'}, {torch.get_num_threads()} threads"
    )
    base = statistics.median(speeds["memmap, sequential"])
    for name, each in speeds.items():
        middle = statistics.median(each)
        yield f"{name:<26} {middle:8,.0f} MB/s   best {max(each):8,.0f}   {middle / base:6.2f} of sequential"


def drop(folder: Path) -> None:
    """Take the files out of the page cache, as far as the kernel allows without being root."""
    for path in folder.rglob("*.bin"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main() -> None:
    """Measure in a folder, which says on which disk."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=2048, help="size of the store")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--tokens", type=int, default=49)
    parser.add_argument("--dtype", choices=tuple(TORCH), default="fp16")
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prefetch", type=int, default=4)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--cast", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    sizes = Sizes(args.mib, args.width, args.tokens, args.dtype, args.batch)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        lines = measure(
            Path(folder) / "store",
            sizes,
            rounds=args.rounds,
            cold=args.cold,
            cast=args.cast,
            prefetch=args.prefetch,
        )
        for line in lines:
            sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
