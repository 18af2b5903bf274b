"""Labelled images of the drawn world: the probe set, which methods may use, and the held-out scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evals.subject import Bools
from sandbox.world.concepts import VALUES, truth
from tools.protocols import Floats

SOURCE = "sandbox.sets"
"""The probe set of dictionaries whose images are of this world."""


class LabelledScenes:
    """Scenes with exact labels and a dictionary's activations on them; implements LabelledImages."""

    words = tuple(value.value for value in VALUES)

    def __init__(self, labels: Bools, activations: Callable[[int], Floats]) -> None:
        """``labels``: (n, len(VALUES)); ``activations``: feature index to (n,)."""
        self._labels, self._activations = labels, activations

    def holds(self, name: str) -> Bools | None:
        """(n,) truth of a name; None where it has a word that the world does not know."""
        try:
            return truth(name, self._labels)
        except ValueError:
            return None

    def activations(self, index: int) -> Floats:
        """(n,) activations of a feature."""
        return self._activations(index)


def probe_scenes(activations: Callable[[int], Floats]) -> LabelledScenes:
    """The probe set with its labels."""
    from sandbox.sets import image_set

    return LabelledScenes(image_set("probe").labels, activations)


def held_out_scenes(folder: Path) -> LabelledScenes:
    """The held-out scenes, on which a dictionary folder is measured once and remembered."""
    from sandbox.activations import measure
    from sandbox.heldout import held_out

    measured = measure(folder).activations
    return LabelledScenes(held_out().labels, lambda index: measured[:, index])
