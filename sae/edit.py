"""What can be done to a feature's activation. Imports no torch."""

from __future__ import annotations

from typing import Literal, NamedTuple

Mode = Literal["add", "clamp", "scale", "ablate"]


class Edit(NamedTuple):
    """What is done to one feature."""

    feature: int
    mode: Mode
    amount: float = 0.0
    """An activation where it is added or held there, a factor where it scales; ablation ignores it."""
