"""How the tokens of an image become one vector; imports nothing, so that the command line can list it."""

from typing import Literal

Pooling = Literal["none", "cls", "max", "mean", "top-p"]
"""``none`` keeps each token, or takes a vector as it is."""
