"""Everything that asks: command line, Python API, settings, and the one place where all is wired together.

``import namesae`` loads nothing heavy; ``name``, ``load_dictionary`` and ``trace`` are loaded when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from namesae.api import load_dictionary, name, trace

__version__ = "0.1.0"
__all__ = ["__version__", "load_dictionary", "name", "trace"]


def __getattr__(wanted: str) -> Any:
    if wanted in ("load_dictionary", "name", "trace"):
        from namesae import api

        return getattr(api, wanted)
    raise AttributeError(f"module 'namesae' has no attribute {wanted!r}; it has {', '.join(__all__)}.")
