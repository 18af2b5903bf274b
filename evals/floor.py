"""The random-name floor of a whole evaluation: a fixed set of names, judged once for all features.

In everyday use the floor is whatever other names were judged before; here every feature must be measured
against the same one, whatever the order in which they are named.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tools.sealed import unrelated

NAMES = 12
"""Names of which a judge uses those that share no word with its own."""


class FixedFloor:
    """A partition of sealed images that nothing is added to; implements agent.toolbox.SealedImages."""

    def __init__(self, names: Sequence[str], draw: Callable[[str], tuple[str, ...]]) -> None:
        """``draw``: a name to its sealed images."""
        self._names, self._draw = tuple(names), draw

    def add(self, name: str, images: Sequence[str]) -> None:
        """Nothing: the floor is fixed."""

    def others(self, name: str, *, top: int) -> dict[str, tuple[str, ...]]:
        """Up to ``top`` of the names that share no word with ``name``, and their sealed images."""
        drawn = {each: self._draw(each) for each in unrelated(name, self._names, top=top)}
        return {each: images for each, images in drawn.items() if images}


def floor_names(words: Sequence[str], *, seed: int, count: int = NAMES) -> tuple[str, ...]:
    """Names chosen at random from a list of words."""
    return tuple(random.Random(f"floor/{seed}").sample(list(words), min(count, len(words))))
