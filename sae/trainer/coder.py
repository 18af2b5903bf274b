"""The weights of a dictionary while they are trained, on normalised activations u."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sae.architectures import SIGNS, keep_top
from sae.straight_through import jump_relu
from sae.trainer.measure import CENTRES
from sae.trainer.recipe import Decoder, Recipe

CALIBRATED_ON = 1 << 22
"""Pre-activations that a first threshold is read off, at most."""
LEAST_THRESHOLD = 0.001
"""A first threshold is at least this."""


class Coder(nn.Module):
    """Encoder, activation and decoder of a recipe; what the recipe lacks stays 0 or 1 and does not learn."""

    idle: Tensor
    """(F,) int64 rows seen since each feature fired."""
    floor: Tensor
    """() running mean of the least activation a batch kept (batchtopk); -1 before the first."""

    def __init__(
        self, width: int, recipe: Recipe, *, generator: torch.Generator, sample: Tensor | None = None
    ) -> None:
        """``sample``: (n, d) normalised rows, which biases and directions may start from."""
        super().__init__()
        self.recipe, self.n_features = recipe, recipe.features(width)
        directions = _directions(self.n_features, width, generator, how=recipe.decoder, sample=sample)
        free = recipe.decoder.kind == "free"
        # The order is the optimiser's: another one sums the gradient's norm in another order.
        self.W_dec = nn.Parameter(directions, requires_grad=free)
        self.W_enc = nn.Parameter(_encoder(directions, recipe, generator))
        self.b_enc = nn.Parameter(torch.zeros(self.n_features), requires_grad=recipe.encoder.bias)
        self.b_dec = nn.Parameter(_bias(width, recipe.decoder, sample), requires_grad=recipe.decoder.bias)
        self._extras(width, recipe, sample)
        self.register_buffer("idle", torch.zeros(self.n_features, dtype=torch.int64))
        self.register_buffer("floor", torch.tensor(-1.0))

    def _extras(self, width: int, recipe: Recipe, sample: Tensor | None) -> None:
        jumps, gates = recipe.architecture == "jumprelu", recipe.architecture == "gated"
        affine = recipe.input.affine
        self.r_mag = nn.Parameter(torch.zeros(self.n_features), requires_grad=gates)
        self.b_mag = nn.Parameter(torch.zeros(self.n_features), requires_grad=gates)
        self.gain = nn.Parameter(torch.ones(width), requires_grad=affine)
        self.shift = nn.Parameter(torch.zeros(width), requires_grad=affine)
        start = torch.tensor(self._first_threshold(sample) if jumps else 1.0)
        start = torch.full((self.n_features,), float(start.log() if recipe.jump.log else start))
        self.theta = nn.Parameter(start, requires_grad=jumps)

    @torch.no_grad()
    def _first_threshold(self, sample: Tensor | None) -> float:
        """What k pre-activations a row of the sample exceed where that is asked for."""
        start, k = self.recipe.jump.start, self.recipe.k
        if start != "calibrated":
            return start
        if sample is None or k is None:
            raise ValueError("A calibrated jump.start needs rows and k.")
        spread = sample[:: -(-len(sample) * self.n_features // CALIBRATED_ON)].cpu()
        ranked = self.pre_activations(spread).flatten()
        above = min(k * len(spread), ranked.numel() - 1)
        return max(LEAST_THRESHOLD, float(ranked.kthvalue(ranked.numel() - above).values))

    @property
    def directions(self) -> Tensor:
        """(F, d) decoder rows."""
        if self.recipe.decoder.norm == "rescaled":
            return F.normalize(self.W_dec, dim=1)
        return self.W_enc.T if self.recipe.decoder.kind == "tied" else self.W_dec

    @property
    def thresholds(self) -> Tensor:
        """(F,) of jumprelu."""
        return self.theta.exp() if self.recipe.jump.log else self.theta

    def pre_activations(self, u: Tensor) -> Tensor:
        """(b, d) to (b, F)."""
        if self.gain.requires_grad:
            u = u * self.gain + self.shift
        if self.recipe.decoder.subtract_bias:
            u = u - self.b_dec
        h = u @ self.W_enc + self.b_enc
        return h * self.W_dec.norm(dim=1) if self.recipe.decoder.norm == "rescaled" else h

    def activate(self, h: Tensor, k: int | None) -> Tensor:
        """(b, F) pre-activations to activations, as in training: batchtopk keeps k a row on average."""
        z = _ACTIVATIONS[self.recipe.architecture](self, h, k)
        cap = self.recipe.soft_cap
        return z if cap is None else cap * torch.tanh(z / cap)

    def decode(self, z: Tensor) -> Tensor:
        """(b, F) to (b, d)."""
        return z @ self.directions + self.b_dec

    @torch.no_grad()
    def before_step(self) -> None:
        """Free the gradient of what would only lengthen directions."""
        how, weights = self.recipe.decoder, self._direction_weights()
        if weights is None:
            return
        if how.norm == "compensated":
            norms = weights.norm(dim=1).clamp(min=1e-12)
            weights.div_(norms[:, None])
            self.W_enc.mul_(norms)
        gradient = self._direction_gradient()
        if gradient is not None and how.project_gradient:
            unit = weights if how.norm == "unit" and how.start_norm == 1 else F.normalize(weights, dim=1)
            gradient -= (gradient * unit).sum(1, keepdim=True) * unit

    @torch.no_grad()
    def after_step(self) -> None:
        """Directions of norm 1, where the recipe has them."""
        weights = self._direction_weights()
        if weights is not None and self.recipe.decoder.norm == "unit":
            weights.copy_(F.normalize(weights, dim=1))

    def _direction_weights(self) -> Tensor | None:
        """(F, d) view of the weights that are directions; None where they are frozen."""
        kind = self.recipe.decoder.kind
        return None if kind == "frozen" else self.W_enc.T if kind == "tied" else self.W_dec

    def _direction_gradient(self) -> Tensor | None:
        tied = self.recipe.decoder.kind == "tied"
        gradient = self.W_enc.grad if tied else self.W_dec.grad
        return gradient.T if tied and gradient is not None else gradient


def keep_highest(h: Tensor, k: int, *, sign: str) -> Tensor:
    """Zero all but k of each row of (..., F), ranked and kept as the sign says."""
    if sign == "relu":
        return keep_top(h.relu(), k)
    side = SIGNS[sign]
    top = side.rank(h).topk(min(k, h.shape[-1]), dim=-1, sorted=False).indices
    return torch.zeros_like(h).scatter(-1, top, side.kept(h.gather(-1, top)))


def _topk(coder: Coder, h: Tensor, k: int | None) -> Tensor:
    return keep_highest(h, k or 0, sign=coder.recipe.sign)


def _batchtopk(coder: Coder, h: Tensor, k: int | None) -> Tensor:
    return keep_highest(h.flatten(), (k or 0) * len(h), sign=coder.recipe.sign).view_as(h)


def _jumprelu(coder: Coder, h: Tensor, k: int | None) -> Tensor:
    jump = coder.recipe.jump
    return jump_relu(h.relu(), coder.thresholds, bandwidth=jump.bandwidth, kernel=jump.kernel)


def _gated(coder: Coder, h: Tensor, k: int | None) -> Tensor:
    magnitude = (h - coder.b_enc) * coder.r_mag.exp() + coder.b_mag
    return magnitude.relu() * (h > 0)


_ACTIVATIONS: dict[str, Callable[[Coder, Tensor, int | None], Tensor]] = {
    "relu": lambda coder, h, k: h.relu(),
    "topk": _topk,
    "batchtopk": _batchtopk,
    "jumprelu": _jumprelu,
    "gated": _gated,
}


def initial_directions(n_features: int, width: int, *, generator: torch.Generator) -> Tensor:
    """(F, d) random unit decoder rows, which training begins with; the encoder is their transpose."""
    return F.normalize(torch.randn(n_features, width, generator=generator), dim=1)


def _directions(
    n_features: int, width: int, generator: torch.Generator, *, how: Decoder, sample: Tensor | None
) -> Tensor:
    if how.start == "kaiming":
        drawn = _uniform(n_features, width, generator, bound=width**-0.5)
    else:
        drawn = initial_directions(n_features, width, generator=generator)
    if how.start == "data" and sample is not None:
        rows = torch.randint(len(sample), (n_features,), generator=generator)
        towards = F.normalize(sample[rows].cpu() - sample.mean(0).cpu(), dim=1)
        drawn = how.data_share * towards + (1 - how.data_share) * drawn
    if how.start_norm is None or (how.start == "normal" and how.start_norm == 1):
        return drawn
    return F.normalize(drawn, dim=1).mul(how.start_norm)


def _encoder(directions: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    n_features, width = directions.shape
    scale = recipe.encoder.start_scale
    scale = 2 * width / n_features if scale == "balanced" else scale
    if recipe.encoder.start == "transpose":
        return directions.T.clone() if scale == 1 else directions.T.mul(scale)
    return _uniform(width, n_features, generator, bound=scale * width**-0.5)


def _uniform(rows: int, columns: int, generator: torch.Generator, *, bound: float) -> Tensor:
    """What ``nn.Linear`` draws: uniform up to 1 / sqrt(inputs)."""
    return (2 * torch.rand(rows, columns, generator=generator) - 1).mul(bound)


def _bias(width: int, how: Decoder, sample: Tensor | None) -> Tensor:
    return torch.zeros(width) if sample is None else CENTRES[how.bias_start](sample).cpu()
