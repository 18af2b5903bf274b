"""One contestant of the training benchmarks in a process: ``python -m benchmarks.sae_worker SETTINGS``.

SETTINGS is the JSON of ``Settings``. Every line of the input then asks for something: ``{"steps": 10}`` to
train so many steps and say in how many seconds, ``{"measure": true}`` to say FVU and L0 on the held-out rows,
``{"begin": {"lr": 1e-3}}`` to begin anew with other settings. It runs in the peers' interpreter too, so it
needs nothing but torch and the peer it is about.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.sae_contestants import CONTESTANTS, Contestant, Settings


@torch.no_grad()
def measure(of: Contestant, held_out: Tensor, *, batch: int = 1024) -> dict[str, float]:
    """Global FVU in float64 and mean L0."""
    error = squares = active = 0.0
    centre = held_out.double().mean(0)
    for x in torch.split(held_out, batch):
        z = of.encode(x)
        error += float((of.decode(z).double() - x.double()).square().sum())
        squares += float((x.double() - centre).square().sum())
        active += float((z != 0).sum())
    return {"fvu": error / squares if squares else math.nan, "l0": active / len(held_out)}


class Worker:
    """Trains as it is asked to."""

    def __init__(self, at: Settings) -> None:
        torch.set_num_threads(at.threads)
        held = torch.load(at.rows, weights_only=True)
        self._train, self._held_out = held["train"].to(at.device), held["held_out"].to(at.device)
        self._begin(at)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What it says to one line."""
        if "begin" in asked:
            self._begin(replace(self._at, **asked["begin"]))
            return {"ready": True}
        if "steps" in asked:
            return {"seconds": self._steps(asked["steps"])}
        return measure(self._contestant, self._held_out)

    def _begin(self, at: Settings) -> None:
        self._at, self._done = at, 0
        self._chance = torch.Generator().manual_seed(at.seed)
        self._contestant = CONTESTANTS[at.contestant](at, self._train[:65_536])

    def _steps(self, count: int) -> float:
        # Rows are drawn before the clock runs: reading data is nobody's step.
        batches = [self._train[self._drawn()] for _ in range(count)]
        now = time.process_time if self._at.clock == "processor" else time.perf_counter
        begun = now()
        for x in batches:
            self._contestant.step(x, self._done)
            self._done += 1
        if self._train.is_cuda:
            torch.cuda.synchronize()
        return now() - begun

    def _drawn(self) -> Tensor:
        return torch.randint(len(self._train), (self._at.batch,), generator=self._chance)


def serve(at: Settings) -> None:
    """Answer line after line, until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(what: dict[str, Any]) -> None:
        print(json.dumps(what), file=answers, flush=True)

    try:
        worker = Worker(at)
    except (ImportError, NotImplementedError) as error:
        say({"left_out": str(error)})
        return
    say({"ready": True})
    for line in sys.stdin:
        try:
            said = worker.answer(json.loads(line))
        except (RuntimeError, NotImplementedError) as error:
            said = {"left_out": str(error).partition("\n")[0][:200]}
        say(said)


if __name__ == "__main__":
    serve(Settings(**json.loads(sys.argv[1])))
