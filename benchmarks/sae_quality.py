"""``python -m benchmarks.sae_quality --peers PYTHON``: how well dictionaries fit, beside the peers' alike.

Every contestant trains on the same rows with the same budget: steps, batch, width, optimiser, a list of
learning rates to choose from and, for kinds whose L0 follows from a weight, as many trainings to find the
weight that leads to k. What counts is FVU in float64 over all held-out rows at L0 = k: as it is where k sets
L0, else read off between the two trainings whose L0 lie around k. Rows are superpositions of known features,
the sandbox's own (``--sandbox``) or those of a file of (n, d) floats (``--rows FILE.npy``).
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.sae_contest import Racer, contest, say
from benchmarks.sae_contestants import Settings
from benchmarks.sae_world import rows_of, world

WEIGHTS: dict[str, float] = {"relu": 5.0, "gated": 5.0, "jumprelu": 30.0}
"""Where the search for a weight begins at width 64; they grow with its root, as the norm of a row does."""
VARIANTS = ("topk", "multi-topk", "batchtopk", "matryoshka", "relu", "jumprelu", "gated")
NAMES = ("ours", "dictionary_learning", "sparsify", "overcomplete", "saelens")


class Trained(NamedTuple):
    """One training."""

    variant: str
    contestant: str
    lr: float
    weight: float
    fvu: float
    l0: float


class Best(NamedTuple):
    """What a contestant reaches at L0 = k."""

    contestant: str
    lr: float
    fvu: float
    l0: float
    """k where FVU is read off between trainings; else the L0 of the training nearest to k."""


def main() -> None:
    asked = _arguments()
    found: list[Trained] = []
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.pt"
        width = write_rows(rows, asked)
        # They begin with what all of them have; each is asked for every variant in turn.
        at = Settings(
            contestant="",
            architecture="topk",
            rows=str(rows),
            n_features=asked.expansion * width,
            k=asked.k,
            batch=asked.batch,
            steps=asked.steps,
            lr=asked.lrs[0],
            auxk=1 / 32,
            dead_after=asked.batch * asked.steps // 10,
            threads=asked.threads,
        )
        with contest(at, asked.contestants, peers=asked.peers) as racers:
            for variant in asked.variants:
                of_variant = replace(at, architecture=variant)
                found += [each for racer in racers for each in trainings(racer, of_variant, asked)]
                show(variant, [each for each in found if each.variant == variant], k=asked.k)
    if asked.json:
        asked.json.write_text(json.dumps([each._asdict() for each in found]))


def write_rows(path: Path, asked: argparse.Namespace) -> int:
    """Write the rows all train on and the last tenth, held out; their width."""
    if asked.sandbox:
        x = _sandbox_rows()
    elif asked.rows:
        x = torch.from_numpy(np.load(asked.rows)).float()
    else:
        x = rows_of(world(asked.width, 8 * asked.width, seed=0), 40_000, active=asked.k, seed=1)
    # Shuffled, since neighbours may be alike; of mean squared norm d about their mean.
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    x = (x - x.mean(0)) * math.sqrt(x.shape[1] / float((x - x.mean(0)).square().sum(1).mean()))
    cut = len(x) * 9 // 10
    torch.save({"train": x[:cut].clone(), "held_out": x[cut:].clone()}, path)
    return x.shape[1]


def _sandbox_rows() -> Tensor:
    """What the sandbox's CLIP makes of the sandbox's held-out scenes."""
    from sae.card import read_card
    from sandbox.embeddings import embedded

    folder = Path(__file__).parent.parent / "sandbox" / "models" / "sandbox"
    card = read_card(folder)
    return torch.from_numpy(embedded(card.backbone.located(folder), card.hook_point)).float()


def trainings(racer: Racer, at: Settings, asked: argparse.Namespace) -> list[Trained]:
    """All trainings of one contestant; none that failed."""
    racer.left_out = None
    scale = (_width(at) / 64) ** 0.5
    found: list[Trained] = []
    for lr in asked.lrs:
        of_rate: list[Trained] = []
        while racer.left_out is None and not _over(of_rate, at, asked.tries):
            weight = next_weight(of_rate, at.k) or scale * WEIGHTS.get(at.architecture, 0.0)
            racer.begin(architecture=at.architecture, lr=lr, weight=weight)
            racer.train(at.steps)
            fvu, l0 = racer.measure()
            if racer.left_out is None:
                of_rate.append(Trained(at.architecture, racer.name, lr, weight, fvu, l0))
                say(
                    f"{at.architecture} {racer.name} lr {lr:g} weight {weight:.3g}: FVU {fvu:.4f} L0 {l0:.1f}"
                )
        found += of_rate
    return found


def _over(of: Sequence[Trained], at: Settings, tries: int) -> bool:
    """Whether a learning rate has had its trainings: all, or k was met."""
    if at.architecture not in WEIGHTS:
        return bool(of)
    return len(of) >= tries or any(abs(each.l0 / at.k - 1) <= 0.03 for each in of)


def next_weight(of: Sequence[Trained], k: int) -> float | None:
    """The weight that should lead to L0 = k, of what others led to; None of nothing."""
    if of and of[-1].variant == "jumprelu":
        # Its term draws L0 to k from both sides, the more the greater the weight.
        return 10 * of[-1].weight
    below, above = around(of, k)
    if below is None or above is None:
        nearest = below or above
        return None if nearest is None else nearest.weight * min(5.0, max(0.2, nearest.l0 / k))
    share = math.log(k / above.l0) / math.log(max(below.l0, 0.05) / above.l0)
    ratio = math.log(below.weight / above.weight)
    return above.weight * math.exp(min(0.85, max(0.15, share)) * ratio)


def around(of: Sequence[Trained], k: int) -> tuple[Trained | None, Trained | None]:
    """The trainings whose L0 is next to k, below and above."""
    below = [each for each in of if each.l0 <= k]
    above = [each for each in of if each.l0 > k]
    return (
        max(below, key=lambda each: each.l0, default=None),
        min(above, key=lambda each: each.l0, default=None),
    )


def _width(at: Settings) -> int:
    return int(torch.load(at.rows, weights_only=True, mmap=True)["train"].shape[1])


def best(of: Sequence[Trained], k: int) -> Best:
    """The least FVU at L0 = k over all learning rates."""
    found = [at_k([each for each in of if each.lr == lr], k) for lr in {each.lr for each in of}]
    exact = [each for each in found if near(each, k)] or found
    return min(exact, key=lambda each: each.fvu)


def near(each: Best, k: int) -> bool:
    """Whether L0 is within a tenth of k."""
    return abs(each.l0 / k - 1) <= 0.1


def at_k(of: Sequence[Trained], k: int) -> Best:
    """Of trainings that differ by weight alone: log FVU at log k on the line between the two around it."""
    low, high = around([each for each in of if each.l0 > 0], k)
    if low is None or high is None:
        nearest = min(of, key=lambda each: abs(math.log(max(each.l0, 1e-3) / k)))
        return Best(nearest.contestant, nearest.lr, nearest.fvu, nearest.l0)
    share = math.log(k / low.l0) / math.log(high.l0 / low.l0)
    fvu = math.exp((1 - share) * math.log(low.fvu) + share * math.log(high.fvu))
    return Best(low.contestant, low.lr, fvu, float(k))


def show(variant: str, of: Sequence[Trained], *, k: int) -> None:
    """What each reaches, and how ours compares with the best of the rest."""
    names = dict.fromkeys(each.contestant for each in of)
    reached = {name: best([each for each in of if each.contestant == name], k) for name in names}
    print(f"{variant}, k {k}", flush=True)
    for each in sorted(reached.values(), key=lambda each: each.fvu):
        print(f"  {each.contestant:<22} FVU {each.fvu:.4f}   L0 {each.l0:7.1f}   lr {each.lr:g}")
    peers = [each for name, each in reached.items() if name != "ours" and near(each, k)]
    if "ours" in reached and peers:
        first = min(peers, key=lambda each: each.fvu)
        print(f"  ours has {reached['ours'].fvu / first.fvu:.3f} x the FVU of the best, {first.contestant}")


def _arguments() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--peers", help="interpreter of the peers' environment")
    asked.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    asked.add_argument("--contestants", nargs="+", choices=NAMES, default=list(NAMES))
    asked.add_argument("--sandbox", action="store_true", help="train on the sandbox's activations")
    asked.add_argument("--rows", type=Path, help="train on those of a .npy file")
    asked.add_argument("--width", type=int, default=64, help="of the superpositions")
    asked.add_argument("--expansion", type=int, default=16, help="features over the width")
    asked.add_argument("--k", type=int, default=8)
    asked.add_argument("--batch", type=int, default=1024)
    asked.add_argument("--steps", type=int, default=1500)
    asked.add_argument("--lrs", nargs="+", type=float, default=[3e-4, 1e-3, 3e-3, 1e-2])
    asked.add_argument("--tries", type=int, default=5, help="trainings a rate to find a weight")
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--json", type=Path, help="where to write all trainings")
    return asked.parse_args()


if __name__ == "__main__":
    main()
