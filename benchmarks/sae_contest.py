"""Contestants side by side, in turns: each a process of its own (benchmarks/sae_worker.py) that waits while

others work.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.sae_contestants import Settings

ROOT = Path(__file__).parent.parent
HERE = ("ours", "encoder-matmul")
"""Contestants that run in this project's own interpreter."""


class Racer:
    """A contestant's process."""

    def __init__(self, at: Settings, process: subprocess.Popen[str]) -> None:
        self.name, self._process = at.contestant, process
        self.left_out: str | None = None
        said = self._hear()
        if "ready" not in said:
            self.left_out = said.get("left_out", "it ended at once")

    def train(self, steps: int) -> float:
        """Seconds for so many more steps; nan when it fails, which leaves it out."""
        return float(self._ask({"steps": steps}).get("seconds", math.nan))

    def measure(self) -> tuple[float, float]:
        """FVU and L0 on the held-out rows; nan as above."""
        said = self._ask({"measure": True})
        return float(said.get("fvu", math.nan)), float(said.get("l0", math.nan))

    def begin(self, **settings: object) -> None:
        """Begin another training, with what of the settings is another."""
        self._ask({"begin": settings})

    def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        if self.left_out is not None:
            return {}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        said = self._hear() or {"left_out": "it ended; its own words are above"}
        if "left_out" in said:
            self.left_out = str(said["left_out"])
            say(f"{self.name}: left out: {self.left_out}")
        return said

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else {}


@contextmanager
def contest(at: Settings, names: Sequence[str], *, peers: str | None) -> Iterator[list[Racer]]:
    """The contestants that could start; those left out are named on the standard error, with the reason."""
    with ExitStack() as stack:
        racers = []
        for name in names:
            if name not in HERE and peers is None:
                say(f"{name}: left out: no --peers interpreter was given")
                continue
            interpreter = sys.executable if name in HERE else str(peers)
            racer = Racer(replace(at, contestant=name), stack.enter_context(_process(at, name, interpreter)))
            if racer.left_out is None:
                racers.append(racer)
            else:
                say(f"{name}: left out: {racer.left_out}")
        yield racers


@contextmanager
def _process(at: Settings, name: str, interpreter: str) -> Iterator[subprocess.Popen[str]]:
    settings = json.dumps(asdict(replace(at, contestant=name)))
    of_ours = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(at.threads), "PYTHONWARNINGS": "ignore"}
    environment = os.environ | of_ours
    process = subprocess.Popen(
        [interpreter, "-m", "benchmarks.sae_worker", settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def say(what: str) -> None:
    """A line for whoever watches."""
    print(what, file=sys.stderr, flush=True)
