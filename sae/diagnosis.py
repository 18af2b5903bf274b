"""What activations are like before anything is trained on them, and what that asks of a recipe.

Features die where the mean outweighs what varies, where a few dimensions or tokens outweigh the rest, and
where there are more features than directions that vary: all of it can be seen beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sae.feature import Frozen

OUTLYING = 6.0
"""A dimension is an outlier when its size exceeds so many times the median dimension's."""
MASSIVE = 5.0
"""A row is massive when its norm exceeds so many times the median row's."""


class Diagnosis(Frozen):
    """Figures of a sample of activations and what follows from them."""

    rows: int
    width: int
    gamma: float | None
    """||mean|| / ||standard deviation||; None where nothing varies."""
    norm: float
    """Median of the rows' norms."""
    spread: float
    """Standard deviation of the norms of rows that are not massive, over their mean."""
    outlier_dimensions: tuple[int, ...]
    """Largest first."""
    outlier_share: float
    """Of the summed squares, what lies in them."""
    massive_rows: float
    """Share of the rows."""
    effective_rank: float
    """exp of the entropy of the covariance's normalised eigenvalues (Roy and Vetterli, 2007)."""
    settings: tuple[str, ...]
    """What to set of a recipe, as ``key=value``."""
    advice: tuple[str, ...]
    """The reasons, one sentence each."""


def diagnose(rows: Tensor) -> Diagnosis:
    """Measure (n, d) rows, n > 1, in float64. ValueError when they are not that, or not finite."""
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(f"Activations have shape {tuple(rows.shape)}; give (n, d) with n > 1.")
    if not bool(rows.isfinite().all()):
        raise ValueError("Some activations are not finite; extract them again in float32.")
    x = rows.double()
    norms = x.norm(dim=1)
    median = float(norms.median())
    usual = norms <= MASSIVE * median
    sizes = x[usual].square().mean(0).sqrt()
    outlying = (sizes > OUTLYING * sizes.median()).nonzero().flatten()
    outlying = outlying[sizes[outlying].argsort(descending=True)]
    kept = x[usual]
    figures = _Figures(
        gamma=_gamma(kept),
        norm=median,
        spread=float(norms[usual].std(correction=0) / norms[usual].mean().clamp(min=1e-12)),
        outliers=tuple(int(at) for at in outlying),
        outlier_share=float(sizes[outlying].square().sum() / sizes.square().sum().clamp(min=1e-300)),
        massive=float((~usual).double().mean()),
        rank=_effective_rank(kept),
        width=x.shape[1],
    )
    found = [advice for advice in (rule(figures) for rule in _RULES) if advice is not None]
    return Diagnosis(
        rows=len(x),
        width=figures.width,
        gamma=figures.gamma,
        norm=figures.norm,
        spread=figures.spread,
        outlier_dimensions=figures.outliers,
        outlier_share=figures.outlier_share,
        massive_rows=figures.massive,
        effective_rank=figures.rank,
        settings=tuple(setting for advice in found for setting in advice.settings),
        advice=tuple(advice.why for advice in found),
    )


class _Figures(NamedTuple):
    gamma: float | None
    norm: float
    spread: float
    outliers: tuple[int, ...]
    outlier_share: float
    massive: float
    rank: float
    width: int


class _Advice(NamedTuple):
    why: str
    settings: tuple[str, ...]


def _gamma(x: Tensor) -> float | None:
    deviation = float(x.var(0, correction=0).sum().sqrt())
    return float(x.mean(0).norm()) / deviation if deviation > 0 else None


def _effective_rank(x: Tensor) -> float:
    centred = x - x.mean(0)
    # The smaller of the two Gram matrices has the same eigenvalues that are not 0.
    gram = centred @ centred.T if len(x) < x.shape[1] else centred.T @ centred
    shares = torch.linalg.eigvalsh(gram).clamp(min=0)
    total = float(shares.sum())
    if total == 0:
        return 0.0
    shares = shares[shares > 0] / total
    return math.exp(float(-(shares * shares.log()).sum()))


def _centre(of: _Figures) -> _Advice | None:
    if of.gamma is None:
        return _Advice("All activations are equal: check the images and the hook point.", ())
    if of.gamma < 0.5:
        return None
    far = "most features would spend themselves on it and die" if of.gamma >= 2 else "some features would die"
    return _Advice(f"The mean is {of.gamma:.1f} times what varies: centre, or {far}.", ("input.mean=mean",))


def _scale(of: _Figures) -> _Advice | None:
    usual = math.sqrt(of.width)
    if usual / 2 <= of.norm <= 2 * usual and (of.gamma or 0) < 0.5:
        return None
    why = f"A row's norm is {of.norm:.3g}, not about sqrt(width) = {usual:.3g}: scale, or learning rates and "
    return _Advice(
        f"{why}sparsity weights mean something else than where they come from.", ("input.scale=sqrt-width",)
    )


def _mask(of: _Figures) -> _Advice | None:
    if not of.massive:
        return None
    return _Advice(
        f"{of.massive:.2%} of the rows have more than {MASSIVE:g} times the median norm, as registers do: "
        "leave them out, they would own the loss.",
        (f"input.drop_norm_above={MASSIVE:g}",),
    )


def _norm(of: _Figures) -> _Advice | None:
    if of.spread < 0.5:
        return None
    return _Advice(
        f"Norms vary by {of.spread:.0%} of their mean: standardise rows, or the longest own the loss.",
        ("input.layer_norm={}",),
    )


def _outliers(of: _Figures) -> _Advice | None:
    if not of.outliers:
        return None
    listed = ", ".join(str(at) for at in of.outliers[:5]) + (", ..." if len(of.outliers) > 5 else "")
    many = "s" if len(of.outliers) > 1 else ""
    return _Advice(
        f"Dimension{many} {listed} hold {of.outlier_share:.0%} of the squares: centring takes out what is "
        "constant of that; compare the loss by dimension before trusting one number.",
        ("input.mean=mean",) if (of.gamma or 0) < 0.5 else (),
    )


def _rank(of: _Figures) -> _Advice | None:
    if of.gamma is None or of.rank >= 0.25 * of.width:
        return None
    return _Advice(
        f"Only about {of.rank:.0f} of {of.width} directions vary: begin with few features, such as "
        f"{_round(16 * of.rank)}; more would mostly die.",
        (f"n_features={_round(16 * of.rank)}",),
    )


def _round(count: float) -> int:
    """The next power of two."""
    return int(2 ** math.ceil(math.log2(max(2.0, count))))


_RULES: tuple[Callable[[_Figures], _Advice | None], ...] = (_centre, _scale, _mask, _norm, _outliers, _rank)


def in_words(diagnosis: Diagnosis) -> str:
    """The figures on a line and a line for each piece of advice."""
    gamma = "none" if diagnosis.gamma is None else f"{diagnosis.gamma:.2f}"
    figures = (
        f"gamma {gamma}   norm {diagnosis.norm:.3g} +- {diagnosis.spread:.0%}   effective rank "
        f"{diagnosis.effective_rank:.0f} of {diagnosis.width}   outlier dimensions "
        f"{len(diagnosis.outlier_dimensions)}   massive rows {diagnosis.massive_rows:.2%}"
    )
    advice = diagnosis.advice or ("Nothing stands out: train on them as they are.",)
    return "\n".join([figures, *(f"  {sentence}" for sentence in advice)])
