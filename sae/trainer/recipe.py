"""A recipe: everything that decides how a dictionary is trained. Importing this module imports no torch.

Every choice is a factor of its own, so that each published recipe is a point of one space (``sae/presets``).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from sae.architectures import Sign
from sae.feature import Frozen
from sae.layer_norm import LayerNorm


class Input(Frozen):
    """From an activation x to what is encoded: u = (x - mean) * scale, after the per-sample norm if any."""

    mean: Literal["mean", "geometric-median", "none"] = "none"
    scale: Literal["sqrt-width", "mean-norm", "unit-rms", "squared-norm", "none"] = "none"
    """As in the card (``sae.card.Normalisation``)."""
    layer_norm: LayerNorm | None = None
    affine: bool = False
    """Whether a gain and a shift are learnt after it."""
    drop_norm_above: float | None = Field(default=None, gt=1)
    """Rows whose norm exceeds so many medians are left out: massive tokens such as registers."""
    rows: int = Field(default=65_536, gt=1)
    """Rows of the stream that mean and scale are measured on."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        norm, plain = self.layer_norm, self.mean == "none" and self.scale == "none"
        if norm is not None and not norm.inverted and not norm.after_scale and not plain:
            raise ValueError("a layer_norm that is not inverted needs after_scale, or mean and scale none")
        if self.affine and norm is None:
            raise ValueError("affine needs a layer_norm")
        return self


class Encoder(Frozen):
    """From u to pre-activations."""

    bias: bool = True
    start: Literal["transpose", "kaiming"] = "transpose"
    """transpose: the decoder's transpose; kaiming: uniform up to 1 / sqrt(d)."""
    start_scale: PositiveFloat | Literal["balanced"] = 1.0
    """What that is multiplied by; balanced: 2 d / F, at which random unit directions and their transpose
    rebuild a row at its own length while half of the features are active, as relu's and gated's begin."""


class Decoder(Frozen):
    """From activations of the features to reconstructions."""

    kind: Literal["free", "tied", "frozen"] = "free"
    """tied: the encoder's transpose; frozen: as drawn."""
    start: Literal["normal", "kaiming", "data"] = "normal"
    """data: directions of training rows, blended with normal ones."""
    data_share: float = Field(default=0.8, ge=0, le=1)
    start_norm: float | None = Field(default=1.0, gt=0)
    """Norm of every direction at the start; None: as drawn."""
    norm: Literal["unit", "compensated", "rescaled", "free"] = "unit"
    """unit: directions are brought back to norm 1 after each step; compensated: before it, and encoder
    columns are multiplied by the norm they had; rescaled: weights are free, directions are the weights over
    their norm, and pre-activations are multiplied by it."""
    project_gradient: bool = True
    """Whether the gradient's part along a direction is removed."""
    bias: bool = True
    bias_start: Literal["zeros", "mean", "geometric-median"] = "zeros"
    subtract_bias: bool = True
    """Whether the decoder's bias is subtracted before encoding."""


class Jump(Frozen):
    """Thresholds of jumprelu and their straight-through gradient."""

    start: PositiveFloat | Literal["calibrated"] = 0.001
    """calibrated: the one threshold that k first pre-activations a row exceed."""
    bandwidth: float = Field(default=0.001, gt=0)
    """Width of the kernel, in the scale of pre-activations."""
    kernel: Literal["rectangle", "triangle", "epanechnikov", "gaussian", "logistic", "silverman"] = (
        "rectangle"
    )
    log: bool = True
    """Whether log θ is learnt, so that θ stays above 0, or θ itself."""
    rate: float = Field(default=1.0, gt=0)
    """Learning rate of the thresholds over that of the weights, which pre-activations move with."""


class Threshold(Frozen):
    """The threshold at which a batchtopk dictionary fires after training."""

    kind: Literal["calibrated", "ema"] = "calibrated"
    """calibrated: the one at which mean L0 on rows of the stream is k; ema: a running mean of the least
    activation kept."""
    decay: float = Field(default=0.999, ge=0, lt=1)
    from_step: int = Field(default=0, ge=0)


class Nesting(Frozen):
    """Matryoshka: several reconstructions of one code, each with a loss."""

    by: Literal["prefix", "random-prefix", "k"]
    shares: tuple[float, ...] = ()
    """prefix: share of the features in each group; they sum to 1."""
    count: int = Field(default=10, gt=0)
    """random-prefix: prefixes a step, the whole dictionary among them."""
    power: float = Field(default=0.5, gt=0)
    """random-prefix: exponent of the Pareto distribution of their lengths."""
    ks: tuple[int, ...] = ()
    """k: the values, lowest first; empty: k, 2k, 4k, ... up to all features."""
    weights: Literal["uniform", "reverse"] | tuple[float, ...] = "uniform"
    """reverse: m, ..., 2, 1, most for the shortest."""
    average: bool = True
    """Whether losses are averaged by weight, or summed."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.by == "prefix" and (not self.shares or abs(sum(self.shares) - 1) > 1e-6):
            raise ValueError(f"shares {list(self.shares)} must sum to 1")
        listed = {"prefix": len(self.shares), "k": len(self.ks), "random-prefix": self.count}[self.by]
        if isinstance(self.weights, tuple) and len(self.weights) != listed:
            raise ValueError(f"{len(self.weights)} weights do not fit {listed} nested reconstructions")
        if list(self.ks) != sorted(set(self.ks)):
            raise ValueError(f"ks {list(self.ks)} must rise")
        return self


Reconstruction = Literal[
    "mse-mean", "mse-sum", "fvu", "nmse", "nmse-centred", "norm-divided", "centred-norm-divided", "cosine"
]


class Loss(Frozen):
    """What training lowers, besides what dead features add."""

    reconstruction: Reconstruction = "fvu"
    space: Literal["normalised", "raw"] = "normalised"
    """Whether u or x is reconstructed."""
    sparsity: Literal["none", "l1", "l1-relative", "l0", "l0-target", "tanh"] = "none"
    """l1: mean over rows of the summed activations; l1-relative: over the norm of u; l0: mean count, through
    straight-through steps; l0-target: (l0 / k - 1) squared; tanh: summed tanh(c z)."""
    weight: float = Field(default=0.0, ge=0)
    """Of the sparsity term."""
    warm_up: float = Field(default=0.0, ge=0)
    """Steps over which the weight rises from 0: a share of all up to 1, else their number."""
    decoder_norms: bool = False
    """Whether l1 and tanh multiply an activation by the norm of its direction."""
    tanh_scale: float = Field(default=4.0, gt=0)
    pre_activation: float = Field(default=0.0, ge=0)
    """Weight of what pre-activations lack to their thresholds, times direction norms (jumprelu)."""
    gate_aux: float = Field(default=1.0, ge=0)
    """Weight of what the gate alone leaves over through a detached decoder (gated)."""


class Dead(Frozen):
    """What is done about features that stopped firing."""

    policy: Literal["auxk", "resample", "ghost", "none"] = "auxk"
    after: int = Field(default=100_000, gt=0)
    """A feature is dead when so many rows went by without its activation."""
    weight: float = Field(default=1 / 32, ge=0)
    k: int | None = Field(default=None, gt=0)
    """auxk: dead features that explain a row's error; None: d / 2."""
    loss: Literal["fvu", "nmse", "mse-mean", "mse-sum"] = "fvu"
    """auxk: how what they leave over is measured."""
    scaled: bool = False
    """auxk: whether the weight is multiplied by dead / k while fewer are dead."""
    every: int = Field(default=1_000_000, gt=0)
    """resample: rows between two rounds."""
    rounds: int | None = Field(default=None, gt=0)
    """resample: how many at most."""
    encoder_share: float = Field(default=0.2, gt=0)
    """resample: norm of a new encoder column over the mean norm of living ones."""


class Optimiser(Frozen):
    """How weights follow the gradient."""

    kind: Literal["adam", "adamw"] = "adam"
    lr: float | None = Field(default=None, gt=0)
    """Peak learning rate; None: 2e-4 * sqrt(2^14 / n_features)."""
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=6.25e-10, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float | None = Field(default=1.0, gt=0)
    """Norm the whole gradient is cut to."""
    schedule: Literal["constant", "linear", "cosine", "exponential", "steps"] = "linear"
    """linear: constant, then to 0 over ``decay``; cosine: half a cosine to ``floor``; exponential: times
    gamma every epoch; steps: times gamma every ``every`` steps."""
    warm_up: float = Field(default=0.0, ge=0)
    """Steps of the linear rise from 0: a share of all up to 1, else their number."""
    decay: float = Field(default=0.0, ge=0)
    """Steps of the fall, the last: a share of all up to 1, else their number."""
    floor: float = Field(default=0.0, ge=0, le=1)
    """Share of the peak that cosine ends at."""
    gamma: float = Field(default=0.9, gt=0, le=1)
    every: int = Field(default=1, gt=0)
    average: float | None = Field(default=None, gt=0, lt=1)
    """Decay of a running mean of the weights, which then is the dictionary."""
    bf16: bool = False
    """Whether products are computed in bfloat16."""


class Recipe(Frozen):
    """How one dictionary is trained."""

    about: str = ""
    n_features: int | None = Field(default=None, gt=0)
    expansion: float | None = Field(default=None, gt=0)
    """Features over the activation's width, in place of n_features."""
    architecture: Literal["relu", "topk", "batchtopk", "jumprelu", "gated"] = "topk"
    k: int | None = Field(default=None, gt=0)
    """Activations kept a row, topk and batchtopk (there on average); the L0 that l0-target aims at and that a
    calibrated jumprelu begins with."""
    k_start: int | None = Field(default=None, gt=0)
    """k at the first step, from where it falls (or rises) linearly."""
    k_anneal: float = Field(default=0.0, ge=0)
    """Steps of that: a share of all up to 1, else their number."""
    sign: Sign = "relu"
    """What topk and batchtopk rank and keep."""
    soft_cap: float | None = Field(default=None, gt=0)
    """c of c * tanh(z / c)."""
    steps: int | None = Field(default=None, gt=0)
    epochs: float | None = Field(default=None, gt=0)
    """In place of steps."""
    batch_size: int = Field(default=4096, gt=0)
    input: Input = Input()
    encoder: Encoder = Encoder()
    decoder: Decoder = Decoder()
    jump: Jump = Jump()
    threshold: Threshold = Threshold()
    nesting: Nesting | None = None
    loss: Loss = Loss()
    dead: Dead = Dead()
    optimiser: Optimiser = Optimiser()

    @model_validator(mode="after")
    def _fit(self) -> Self:
        for fault in filter(None, (check(self) for check in _CHECKS)):
            raise ValueError(fault)
        return self

    def features(self, width: int) -> int:
        """F for activations of this width. ValueError when k exceeds it."""
        n = self.n_features or max(1, round((self.expansion or 1) * width))
        if self.k is not None and self.k > n:
            raise ValueError(f"k {self.k} exceeds the {n} features; lower k or add features.")
        return n


def _sizes(recipe: Recipe) -> str | None:
    if (recipe.n_features is None) == (recipe.expansion is None):
        return "give either n_features or expansion"
    if (recipe.steps is None) == (recipe.epochs is None):
        return "give either steps or epochs"
    return None


def _k(recipe: Recipe) -> str | None:
    calibrated = recipe.architecture == "jumprelu" and recipe.jump.start == "calibrated"
    needs = recipe.architecture in ("topk", "batchtopk") or recipe.loss.sparsity == "l0-target" or calibrated
    return "k is missing" if needs and recipe.k is None else None


def _counting(recipe: Recipe) -> str | None:
    counts = recipe.loss.sparsity in ("l0", "l0-target") or recipe.loss.pre_activation > 0
    if counts and recipe.architecture != "jumprelu":
        return "sparsity l0, l0-target and pre_activation need architecture jumprelu"
    by_k = recipe.nesting is not None and recipe.nesting.by == "k"
    return "nesting by k needs architecture topk" if by_k and recipe.architecture != "topk" else None


def _norms(recipe: Recipe) -> str | None:
    how = recipe.decoder
    if how.kind == "tied" and how.norm in ("compensated", "rescaled"):
        return f"a tied decoder's norm cannot be {how.norm}"
    rescaled = how.norm == "rescaled" and recipe.architecture == "gated"
    return "a gated dictionary's norm cannot be rescaled" if rescaled else None


_CHECKS = (_sizes, _k, _counting, _norms)
