"""Which features are active together on the probe pictures. numpy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tools.errors import IntegrityError
from tools.protocols import Floats


class Coactivation:
    """The activations of a scored probe set, as ``tools.exemplars`` keeps them: feature by feature."""

    def __init__(self, folder: Path) -> None:
        """IntegrityError where the folder is damaged."""
        try:
            self._rows, self._values, self._offsets = (
                np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("rows", "values", "offsets")
            )
            self._n_images = len(np.load(folder / "images.npy", mmap_mode="r"))
        except (OSError, ValueError) as error:
            raise IntegrityError(
                f"Probe set {folder.name} is damaged; delete it, it is built again."
            ) from error
        self._lengths = np.sqrt(self._per_feature(np.square(self._values, dtype=np.float64)))

    def cosines(self, index: int) -> Floats:
        """(F,) of the activations on all probe pictures with those of one feature; 0 for a dead one."""
        inside = slice(int(self._offsets[index]), int(self._offsets[index + 1]))
        column = np.zeros(self._n_images)
        column[self._rows[inside]] = self._values[inside]
        dots = self._per_feature(column[self._rows] * self._values)
        lengths = self._lengths * self._lengths[index]
        found: Floats = np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0).astype(
            np.float32
        )
        return found

    def _per_feature(self, entries: Floats) -> Floats:
        """(F,) sums over the entries of each feature, which may have none."""
        running = np.concatenate([[0.0], np.cumsum(entries, dtype=np.float64)])
        sums: Floats = running[self._offsets[1:]] - running[self._offsets[:-1]]
        return np.maximum(sums, 0.0)
