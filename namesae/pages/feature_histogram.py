"""The activations behind one explanation as a plot."""

from __future__ import annotations

from collections.abc import Sequence

from agent.records import Explanation
from namesae.pages.activation_plot import NARROW, WIDTH, ActivationPlot, Sample, activation_plot


def feature_histogram(told: Explanation, control: Sequence[float]) -> tuple[ActivationPlot, ...]:
    """Control set, exemplars and the judge's images of an explanation, for a wide and a narrow window.

    Nothing where it has no evidence, or nothing is active.
    """
    evidence = told.evidence
    if evidence is None:
        return ()
    samples = (
        Sample("control", "control", control),
        Sample("exemplars", "exemplars", tuple(each.activation for each in evidence.exemplars)),
        Sample("sealed", "drawn for the name", evidence.sealed_activations),
    )
    threshold = evidence.facts.threshold
    made = (activation_plot(samples, threshold=threshold, width=width) for width in (WIDTH, NARROW))
    return tuple(plot for plot in made if plot is not None)
