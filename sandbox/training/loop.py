"""One training loop for every model: seeded steps, a logged curve, state saved so that a stop loses
minutes.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn


class Plan(NamedTuple):
    """How long and how fast to train."""

    steps: int
    lr: float
    warmup: int = 300
    decay: float = 0.3
    """Share of the steps over which the rate falls linearly to zero at the end."""
    weight_decay: float = 0.02
    ema: float = 0.0
    """Decay of the averaged weights; 0 keeps none."""
    log_every: int = 100
    save_every: int = 500
    clip: float = 1.0

    def rate(self, step: int) -> float:
        """Learning rate at a step: warm-up, plateau, linear decay."""
        left = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.lr * min(1.0, (step + 1) / self.warmup, left)


class State(NamedTuple):
    """What a training run owns: the model, its averaged copy when there is one, and where it is kept."""

    model: nn.Module
    average: dict[str, torch.Tensor]
    folder: Path


StepLoss = Callable[[int], tuple[torch.Tensor, dict[str, float]]]
"""Step number to (loss, figures to log); all chance is drawn from the step number."""


def train(model: nn.Module, step_loss: StepLoss, plan: Plan, folder: Path) -> State:
    """Train to ``plan.steps``, resuming from ``folder``; the averaged weights end up in the model if kept."""
    folder.mkdir(parents=True, exist_ok=True)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]},
        {"params": [p for p in model.parameters() if p.requires_grad and p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(
        groups, lr=plan.lr, betas=(0.9, 0.98), weight_decay=plan.weight_decay, fused=True
    )
    average = {k: v.clone() for k, v in model.state_dict().items()} if plan.ema else {}
    state = State(model, average, folder)
    start = _resume(state, optimiser)
    began, sums = time.monotonic(), dict[str, float]()
    for step in range(start, plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(step)
        loss, figures = step_loss(step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        optimiser.step()
        _follow(state, plan.ema, step)
        for name, value in {"loss": float(loss.detach()), **figures}.items():
            sums[name] = sums.get(name, 0.0) + value
        if (step + 1) % plan.log_every == 0:
            pace = (time.monotonic() - began) / (step + 1 - start)
            _log(folder, step + 1, {k: v / plan.log_every for k, v in sums.items()}, pace)
            sums = {}
        if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
            _save(state, optimiser, step + 1)
    if plan.ema:
        model.load_state_dict(state.average)
    return state


@torch.no_grad()
def _follow(state: State, decay: float, step: int) -> None:
    if not decay:
        return
    decay = min(decay, (1 + step) / (10 + step))
    for name, value in state.model.state_dict().items():
        if value.is_floating_point():
            state.average[name].lerp_(value, 1 - decay)
        else:
            state.average[name].copy_(value)


def _resume(state: State, optimiser: torch.optim.Optimizer) -> int:
    path = state.folder / "state.pt"
    if not path.exists():
        return 0
    saved = torch.load(path, weights_only=True)
    state.model.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    state.average.update(saved["average"])
    return int(saved["step"])


def _save(state: State, optimiser: torch.optim.Optimizer, step: int) -> None:
    path = state.folder / "state.pt"
    torch.save(
        {
            "model": state.model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "average": state.average,
            "step": step,
        },
        path.with_suffix(".new"),
    )
    path.with_suffix(".new").replace(path)


def _log(folder: Path, step: int, figures: dict[str, float], pace: float) -> None:
    path = folder / "curve.csv"
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(["step", "seconds_per_step", *figures])
        writer.writerow([step, f"{pace:.4f}", *(f"{value:.5f}" for value in figures.values())])
