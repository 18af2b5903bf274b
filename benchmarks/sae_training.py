"""``python -m benchmarks.sae_training --peers PYTHON``: samples per second of training beside the peers.

Every contestant trains a dictionary of the same size on the same rows, batches, dtype and threads, with Adam.
They take turns, a slice of the training each, so that whatever else the machine does hits all of them; the
ratios are of neighbouring slices. ``--peers`` is the interpreter of an environment with dictionary-learning,
eai-sparsify, overcomplete and sae-lens; those that are missing are left out, with the reason.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.sae_contest import Racer, contest, say
from benchmarks.sae_contestants import CONTESTANTS, Settings
from benchmarks.sae_world import rows_of, world


class Result(NamedTuple):
    """What one contestant did."""

    name: str
    rate: float
    """Median samples per second."""
    ratio: float
    """Median of ours over theirs, slice by slice."""
    least: float
    most: float
    whole: float
    """Of the whole training's time."""
    fvu: float
    l0: float


def main() -> None:
    asked = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        rows = write_rows(Path(folder) / "rows.pt", width=asked.width, train=asked.rows, seed=asked.seed)
        at = Settings(
            contestant="",
            architecture=asked.architecture,
            rows=str(rows),
            n_features=asked.features,
            k=asked.k,
            batch=asked.batch,
            steps=asked.slices * asked.steps,
            lr=asked.lr,
            weight=asked.weight,
            seed=asked.seed,
            threads=asked.threads,
            device=asked.device,
            clock=asked.clock,
        )
        with contest(at, asked.contestants, peers=asked.peers) as racers:
            results = race(racers, at, slices=asked.slices, steps=asked.steps)
    show(results, at)
    if asked.json:
        asked.json.write_text(json.dumps({"settings": vars(at), "results": [r._asdict() for r in results]}))


def write_rows(path: Path, *, width: int, train: int, seed: int, held_out: int = 4096) -> Path:
    """Rows in superposition, those held out drawn anew."""
    of = world(width, 16 * width, seed=seed)
    parts = {"train": (train, seed + 1), "held_out": (held_out, seed + 2)}
    torch.save({name: rows_of(of, n, active=24, seed=at) for name, (n, at) in parts.items()}, path)
    return path


def race(racers: Sequence[Racer], at: Settings, *, slices: int, steps: int) -> list[Result]:
    """Train all of them to the end, slice by slice in turns that begin with another each time."""
    seconds: dict[str, list[float]] = {racer.name: [] for racer in racers}
    for number in range(slices):
        racers = [racer for racer in racers if racer.left_out is None]
        turn = number % len(racers)
        for racer in [*racers[turn:], *racers[:turn]]:
            seconds[racer.name].append(racer.train(steps))
        say(f"slice {number + 1} of {slices}: " + "  ".join(f"{n} {s[-1]:.2f} s" for n, s in seconds.items()))
    return [_result(each, seconds, samples=at.batch * steps) for each in racers if each.left_out is None]


def _result(racer: Racer, seconds: dict[str, list[float]], *, samples: int) -> Result:
    # What the first slice sets up, it sets up once; a training of one slice has no other.
    begun = 1 if len(seconds[racer.name]) > 1 else 0
    theirs, ours = seconds[racer.name][begun:], seconds["ours"][begun:]
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    fvu, l0 = (float("nan"),) * 2 if racer.name == "encoder-matmul" else racer.measure()
    return Result(
        racer.name,
        rate=samples / statistics.median(theirs),
        ratio=statistics.median(ratios),
        least=min(ratios),
        most=max(ratios),
        whole=sum(seconds[racer.name]) / sum(seconds["ours"]),
        fvu=fvu,
        l0=l0,
    )


def show(results: Sequence[Result], at: Settings) -> None:
    """A table, and what it comes to."""
    print(f"{at.architecture}  {at.n_features} features  k {at.k}  batch {at.batch}  {at.threads} threads")
    print(
        f"{'contestant':<22}{'samples/s':>10}{'ours is':>10}{'from..to':>16}{'whole':>8}{'FVU':>9}{'L0':>9}"
    )
    for each in sorted(results, key=lambda each: -each.rate):
        span = f"{each.least:.2f}..{each.most:.2f}"
        print(
            f"{each.name:<22}{each.rate:>10,.0f}{each.ratio:>9.2f}x{span:>16}{each.whole:>7.2f}x"
            f"{each.fvu:>9.4f}{each.l0:>9.1f}"
        )
    peers = [each for each in results if each.name not in ("ours", "encoder-matmul")]
    if peers:
        fastest = min(peers, key=lambda each: each.whole)
        print(f"ours is {fastest.whole:.2f} x the fastest peer, {fastest.name}, over the whole training")
    for each in results:
        if each.name == "encoder-matmul":
            print(f"ours reaches {each.ratio:.2f} of the rate of its encoder's product alone")


def _arguments() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--peers", help="interpreter of the peers' environment")
    asked.add_argument("--architecture", choices=("topk", "relu"), default="topk")
    asked.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    asked.add_argument("--width", type=int, default=768)
    asked.add_argument("--features", type=int, default=12_288)
    asked.add_argument("--k", type=int, default=32)
    asked.add_argument("--batch", type=int, default=4096)
    asked.add_argument("--slices", type=int, default=9)
    asked.add_argument("--steps", type=int, default=5, help="steps of a slice")
    asked.add_argument("--rows", type=int, default=60_000)
    asked.add_argument("--lr", type=float, default=3e-4)
    asked.add_argument("--weight", type=float, default=3.0, help="of the sparsity term (relu)")
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--clock", choices=("wall", "processor"), default="wall")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--json", type=Path, help="where to write the figures")
    return asked.parse_args()


if __name__ == "__main__":
    main()
