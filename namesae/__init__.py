"""Everything that asks: command line, Python API, settings, and the one place where all is wired together.

``import namesae`` loads nothing heavy; ``name``, ``load_dictionary`` and the others are loaded when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from namesae.api import ask, fork, load_dictionary, name, review, trace, waiting

__version__ = "0.1.0"
_LATE = ("ask", "fork", "load_dictionary", "name", "review", "trace", "waiting")
__all__ = ["__version__", "ask", "fork", "load_dictionary", "name", "review", "trace", "waiting"]


def __getattr__(wanted: str) -> Any:
    if wanted in _LATE:
        from namesae import api

        return getattr(api, wanted)
    raise AttributeError(f"module 'namesae' has no attribute {wanted!r}; it has {', '.join(__all__)}.")
