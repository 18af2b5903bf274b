"""Train a TopK or BatchTopK dictionary on activations that lie in memory.

The loss is the batch's fraction of variance unexplained plus AuxK: dead features reconstruct what the living
ones leave over (TopK and AuxK arXiv 2406.04093, BatchTopK arXiv 2412.06410). Decoder directions keep unit
norm: the gradient's part along them is removed before each step, the rest of the drift after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from sae.architectures import keep_top
from sae.card import Normalisation
from sae.dictionary import SparseDictionary
from sae.feature import Frozen


class TrainingConfig(Frozen):
    """How a dictionary is trained."""

    n_features: int = Field(gt=0)
    k: int = Field(gt=0)
    """Target L0: activations kept per row (topk), or per row on average over the batch (batchtopk)."""
    architecture: Literal["topk", "batchtopk"] = "topk"
    steps: int = Field(default=4000, gt=0)
    batch_size: int = Field(default=1024, gt=0)
    lr: float | None = Field(default=None, gt=0)
    """Peak learning rate of Adam; None: 2e-4 * sqrt(2^14 / n_features)."""
    warm_up: float = Field(default=0.05, ge=0, le=1)
    """Share of the steps over which the learning rate rises from 0."""
    decay: float = Field(default=0.3, ge=0, le=1)
    """Share of the steps, the last, over which it falls to 0."""
    normalise: Normalisation = Normalisation()
    auxk: float = Field(default=1 / 32, ge=0)
    """Weight of the dead features' loss."""
    dead_after: int = Field(default=100_000, gt=0)
    """A feature is dead when this many rows went by without its activation."""
    log_every: int = Field(default=100, gt=0)


class Progress(NamedTuple):
    """What one logged step says; ``fvu`` and ``l0`` are of its batch alone."""

    step: int
    steps: int
    fvu: float
    l0: float
    dead: int
    """Features without an activation in the last ``dead_after`` rows."""


class _Seen(NamedTuple):
    """A step's figures, left on the device."""

    fvu: Tensor
    l0: Tensor
    dead: Tensor


def _silent(progress: Progress) -> None:
    """Log nothing."""


def train_dictionary(
    activations: Tensor, config: TrainingConfig, *, seed: int = 0, log: Callable[[Progress], None] = _silent
) -> SparseDictionary:
    """Train on (n, d) activations, on the device and in the order that they, the config and the seed fix.

    A batchtopk dictionary gets the threshold at which its mean L0 on these activations is k.
    """
    _refuse(activations, config)
    generator = torch.Generator().manual_seed(seed)
    mean, scale = normalisation(activations, config.normalise)
    coder = _Coder(activations.shape[1], config, generator).to(activations.device)
    optimiser = torch.optim.Adam(coder.parameters(), eps=6.25e-10)
    for step, rows in enumerate(_batches(len(activations), config, generator)):
        u = (activations[rows].float() - mean) * scale
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        seen = coder.step(u, optimiser)
        if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
            log(Progress(step + 1, config.steps, fvu=float(seen.fvu), l0=float(seen.l0), dead=int(seen.dead)))
    dictionary = coder.dictionary(mean, scale)
    return _calibrated(dictionary, activations) if config.architecture == "batchtopk" else dictionary


def _refuse(activations: Tensor, config: TrainingConfig) -> None:
    if activations.ndim != 2 or len(activations) < 2:
        raise ValueError(f"Activations have shape {tuple(activations.shape)}; give (n, d) with n > 1.")
    if not bool(activations.isfinite().all()):
        raise ValueError("Some activations are not finite; extract them again in float32.")
    if config.k > config.n_features:
        raise ValueError(f"k {config.k} exceeds the {config.n_features} features; lower k or add features.")


def normalisation(activations: Tensor, how: Normalisation) -> tuple[Tensor, Tensor]:
    """Centre (d,) and scale () of (n, d) activations."""
    x = activations.float()
    mean = _CENTRE[how.mean](x)
    squared = float(x.var(0, correction=0).sum() + (x.mean(0) - mean).square().sum())
    if how.scale == "none":
        return mean, torch.ones((), device=x.device)
    if squared == 0:
        raise ValueError("All activations are equal; check the images and the hook point.")
    return mean, torch.tensor(math.sqrt(x.shape[1] / squared), device=x.device)


def geometric_median(rows: Tensor, *, rounds: int = 100, tolerance: float = 1e-5) -> Tensor:
    """The (d,) point of least summed distance to (n, d) rows, by Weiszfeld's iteration.

    On at most 100,000 of them, evenly spaced.
    """
    rows = rows[:: max(1, len(rows) // 50_000)]
    centre = rows.mean(0)
    for _ in range(rounds):
        weights = 1 / (rows - centre).norm(dim=1).clamp(min=1e-8)
        moved: Tensor = (weights[:, None] * rows).sum(0) / weights.sum()
        if bool((moved - centre).norm() <= tolerance * centre.norm().clamp(min=1e-8)):
            return moved
        centre = moved
    return centre


_CENTRE: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda rows: rows.mean(0),
    "geometric-median": geometric_median,
    "none": lambda rows: torch.zeros_like(rows[0]),
}


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, constant, linear decay to 0."""
    peak = config.lr or 2e-4 * math.sqrt(2**14 / config.n_features)
    rising = (step + 1) / max(1.0, config.warm_up * config.steps)
    falling = (config.steps - step) / max(1.0, config.decay * config.steps)
    return peak * min(1.0, rising, falling)


def _batches(n: int, config: TrainingConfig, generator: torch.Generator) -> Iterator[Tensor]:
    """Row indices per step, always full: a batch runs over the end of a shuffle into the next."""
    left = torch.empty(0, dtype=torch.int64)
    for _ in range(config.steps):
        while len(left) < config.batch_size:
            left = torch.cat([left, torch.randperm(n, generator=generator)])
        yield left[: config.batch_size]
        left = left[config.batch_size :]


def initial_directions(n_features: int, width: int, *, generator: torch.Generator) -> Tensor:
    """(F, d) random unit decoder rows, which training begins with; the encoder is their transpose."""
    return F.normalize(torch.randn(n_features, width, generator=generator), dim=1)


class _Coder(nn.Module):
    """The weights while they are trained, on normalised activations u."""

    idle: Tensor

    def __init__(self, width: int, config: TrainingConfig, generator: torch.Generator) -> None:
        super().__init__()
        directions = initial_directions(config.n_features, width, generator=generator)
        self.config = config
        self.W_dec = nn.Parameter(directions)
        self.W_enc = nn.Parameter(directions.T.clone())
        self.b_enc = nn.Parameter(torch.zeros(config.n_features))
        self.b_dec = nn.Parameter(torch.zeros(width))
        self.register_buffer("idle", torch.zeros(config.n_features, dtype=torch.int64))

    def step(self, u: Tensor, optimiser: torch.optim.Optimizer) -> _Seen:
        """One update of the weights on (b, d) rows."""
        h = ((u - self.b_dec) @ self.W_enc + self.b_enc).relu()
        z = _activate(h, self.config)
        error = u - (z @ self.W_dec + self.b_dec)
        fvu = error.square().sum() / (u - u.mean(0)).square().sum()
        self.idle += len(u)
        self.idle[(z > 0).any(0)] = 0
        dead = self.idle > self.config.dead_after
        loss = fvu + self.config.auxk * self._auxk(h, error.detach(), dead)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._project_gradient()
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            self.W_dec.copy_(F.normalize(self.W_dec, dim=1))
        return _Seen(fvu=fvu.detach(), l0=(z > 0).sum() / len(u), dead=dead.sum())

    def _auxk(self, h: Tensor, error: Tensor, dead: Tensor) -> Tensor:
        """What of the error (b, d) the dead features leave over, at most d/2 of them a row, as its FVU."""
        if not bool(dead.any()):
            return h.new_zeros(())
        codes = keep_top(h[:, dead], max(1, error.shape[1] // 2))
        left = error - codes @ self.W_dec[dead]
        return left.square().sum() / (error - error.mean(0)).square().sum().clamp(min=1e-12)

    @torch.no_grad()
    def _project_gradient(self) -> None:
        gradient = self.W_dec.grad
        if gradient is not None:
            gradient -= (gradient * self.W_dec).sum(1, keepdim=True) * self.W_dec

    @torch.no_grad()
    def dictionary(self, mean: Tensor, scale: Tensor) -> SparseDictionary:
        """The canonical form: what is subtracted before encoding becomes part of b_enc."""
        return SparseDictionary(
            self.config.architecture,
            W_enc=self.W_enc.detach().clone(),
            b_enc=(self.b_enc - self.b_dec @ self.W_enc).detach(),
            W_dec=self.W_dec.detach().clone(),
            b_dec=self.b_dec.detach().clone(),
            mean=mean,
            scale=scale,
            k=self.config.k,
            normalise=self.config.normalise,
        )


def _activate(h: Tensor, config: TrainingConfig) -> Tensor:
    if config.architecture == "topk":
        return keep_top(h, config.k)
    return keep_top(h.flatten(), config.k * len(h)).view_as(h)


@torch.no_grad()
def _calibrated(dictionary: SparseDictionary, activations: Tensor, *, rows: int = 20_000) -> SparseDictionary:
    """The same with the threshold that as many activations exceed as k a row, on evenly spaced rows."""
    spread = activations[:: max(1, len(activations) // rows)].float()
    h = replace(dictionary, architecture="relu").encode(spread).flatten()
    above = min((dictionary.k or 1) * len(spread), h.numel() - 1)
    threshold = h.kthvalue(h.numel() - above).values
    return replace(dictionary, threshold=threshold)
