"""The control set: images drawn without regard to any feature, against which names are scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from tools.digest import digest
from tools.errors import UsageError
from tools.image_folder import list_images, store_images
from tools.protocols import StoresImages

LEAST_CONTROL = 1000

Label = Callable[[str, str], bool | None]
"""(image id, name) to whether the image shows what the name says; None where it cannot tell."""


def _require_enough(count: int) -> None:
    if count < LEAST_CONTROL:
        raise UsageError(
            f"A control set needs at least {LEAST_CONTROL:,} different images, "
            f"this one has {count:,}; add images."
        )


class ControlSet:
    """At least 1,000 distinct images, chosen once with a seed; implements KnowsControl."""

    def __init__(
        self,
        images: Sequence[str],
        *,
        count: int | None = None,
        seed: int = 0,
        label: Label | None = None,
        labelled_by: str = "",
    ) -> None:
        """``labelled_by`` says what the labels are, for the fingerprint. UsageError below 1,000 images."""
        distinct = list(dict.fromkeys(images))
        wanted = len(distinct) if count is None else count
        _require_enough(min(wanted, len(distinct)))
        chosen = np.arange(len(distinct))
        if wanted < len(distinct):
            chosen = np.sort(np.random.default_rng(seed).choice(len(distinct), size=wanted, replace=False))
        self._images = tuple(distinct[at] for at in chosen)
        self._label = label
        self._fingerprint = digest(tool="control", images=self._images, labelled_by=labelled_by)

    @classmethod
    def from_folder(
        cls, folder: Path, store: StoresImages, *, count: int = LEAST_CONTROL, seed: int = 0
    ) -> Self:
        """A control set of ``count`` pictures of a folder, without labels. UsageError names a bad picture."""
        _require_enough(min(count, len(list_images(folder))))
        return cls(store_images(folder, store, count=count, seed=seed))

    @property
    def fingerprint(self) -> str:
        """Hash of the image ids in order and of what labels them."""
        return self._fingerprint

    @property
    def images(self) -> tuple[str, ...]:
        """The image ids, in a fixed order."""
        return self._images

    def share(self, name: str) -> float | None:
        """Share of the images that show what a name says; None without labels or when one cannot tell."""
        if self._label is None:
            return None
        shown = [self._label(image, name) for image in self._images]
        known = [each for each in shown if each is not None]
        return float(np.mean(known)) if len(known) == len(shown) else None
