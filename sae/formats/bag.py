"""What stands in a tree for an object of a stranger's class: its name and what was in it, and no code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Bag:
    """An object whose class was never looked up, or the class itself where nothing was made of it."""

    name: str
    """Module and class as the file spells them, such as 'sae_training.config.ViTSAERunnerConfig'."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """What would have been the object's __dict__, and the items of mapping-like objects."""
    arguments: list[Any] = field(default_factory=list)
    """What would have been given to the class or function, and the items of list-like objects."""
