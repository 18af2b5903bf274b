"""CoSy: how well a name's generated images stand out from control images (arXiv 2405.20331).

With A1 the activations of one feature on generated images and A0 on control images: AUROC is
P(A1 > A0) + P(A1 = A0)/2; MAD is (mean A1 - mean A0) / std(A0, ddof 1); max-MAD divides by max A0.
MAD grows without bound as features get sparser, so it compares names of one feature, not features.
AUROC near 1/2 + (activation rate - control rate)/2 is normal for a sparse feature.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sae.intervals import auroc_interval, wilson
from sae.metrics import auroc
from tools.protocols import CosyScore, Floats, Interval

_Exact = npt.NDArray[np.float64]


def score_explanation(
    generated: Floats, control: Floats, *, threshold: float, share: float | None = None, seed: int = 0
) -> CosyScore:
    """CoSy figures from (n1,) generated and (n0,) control activations of one feature.

    ``threshold``: the feature fires above it. ``share``: share of the control images that show the concept,
    which caps AUROC at 1 - share / 2. No interval is resampled, so ``seed`` changes nothing. ValueError on
    an empty set, a value that is not finite, or a share outside [0, 1].
    """
    shown = _checked(generated, "generated")
    rest = _checked(control, "control")
    if not (math.isfinite(threshold) and (share is None or 0.0 <= share <= 1.0)):
        raise ValueError(f"Threshold {threshold} and share {share} must be finite, the share within [0, 1].")
    fired, control_fired = int((shown > threshold).sum()), int((rest > threshold).sum())
    return CosyScore(
        auroc=auroc(shown, rest),
        auroc_ci=_interval(auroc_interval(shown, rest)),
        ceiling=None if share is None else 1.0 - share / 2.0,
        mad=_mad(shown, rest),
        max_mad=_max_mad(shown, rest),
        activation_rate=fired / len(shown),
        activation_rate_ci=_interval(wilson(fired, len(shown))),
        control_rate=control_fired / len(rest),
        control_rate_ci=_interval(wilson(control_fired, len(rest))),
        n_generated=len(shown),
        n_control=len(rest),
    )


def _checked(activations: Floats, which: str) -> _Exact:
    exact = np.asarray(activations, dtype=np.float64)
    if exact.ndim != 1 or not len(exact):
        raise ValueError(f"The {which} activations have shape {exact.shape}; give at least one, in one row.")
    if not np.isfinite(exact).all():
        bad = int((~np.isfinite(exact)).sum())
        raise ValueError(f"{bad} of {len(exact)} {which} activations are not finite; score the images again.")
    return exact


def _interval(bounds: tuple[float, float]) -> Interval:
    return Interval(low=bounds[0], high=bounds[1])


def _mad(shown: _Exact, rest: _Exact) -> float | None:
    # A constant's computed std can be a rounding error instead of 0, so constancy is asked for directly.
    if len(rest) < 2 or rest.min() == rest.max():
        return None
    return float((shown.mean() - rest.mean()) / rest.std(ddof=1))


def _max_mad(shown: _Exact, rest: _Exact) -> float | None:
    highest = rest.max()
    return None if highest <= 0 else float((shown.mean() - rest.mean()) / highest)
