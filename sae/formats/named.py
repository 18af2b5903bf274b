"""How features become active, as far as the names and sizes of weights alone tell."""

from __future__ import annotations

from sae.dictionary import Gate
from sae.formats.parts import Activation, floating
from sae.formats.reading import Source

SCALAR_THRESHOLDS = ("topk_threshold", "activation.threshold", "threshold")
UNCALIBRATED = "The file has no threshold: what is active depends on the batch; calibrate it."


def named_activation(source: Source, k: int | None) -> Activation:
    """jumprelu, batchtopk or gated where their weights are there, else topk where there is a k, else relu."""
    if source.has("jumprelu.log_threshold"):
        return Activation(
            "jumprelu", threshold=floating(source.tensor("jumprelu.log_threshold"), "log_threshold").exp()
        )
    if source.has("r_mag", "b_mag"):
        return Activation("gated", gate=Gate(source.tensor("r_mag"), source.tensor("b_mag")))
    for name in SCALAR_THRESHOLDS:
        if source.has(name):
            threshold = source.tensor(name)
            scalar = threshold.numel() == 1
            return Activation("batchtopk" if scalar else "jumprelu", k=k, threshold=threshold)
    return Activation() if k is None else Activation("topk", k=k)
