"""What can be wrong with a dictionary or a backbone, in one sentence each: what, the value, the remedy."""

from __future__ import annotations


class BadDictionary(ValueError):
    """A dictionary folder is missing a part, is corrupt, or does not fit its card or its backbone."""


class BadModel(ValueError):
    """A model folder or hub snapshot cannot be loaded as the kind of backbone asked for."""


class UnknownHookPoint(ValueError):
    """A backbone has no such hook point."""


class NoTextTower(ValueError):
    """A text was given to a backbone that knows images only."""


class ModelUnreachable(ConnectionError):
    """A hub id is neither in the hub cache nor reachable."""


def first_line(error: Exception) -> str:
    """What a library said, as the end of a sentence of ours."""
    said = str(error).strip().partition("\n")[0].rstrip(".:")
    return f"{said or type(error).__name__}."
