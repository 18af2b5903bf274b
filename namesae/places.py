"""Where a model is that a card or a setting names as [KIND:]SOURCE. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from sae.model_folder import source_and_revision
from tools.errors import UsageError

DIFFUSERS = "diffusers"
_SOURCE = re.compile(r"(?:([a-z][a-z0-9_-]*):)?(.*)", re.DOTALL)


class Place(NamedTuple):
    """A model's source: a folder, or a hub id and its revision."""

    source: str
    revision: str | None = None
    kind: str = DIFFUSERS


def place_of(
    given: str, *, beside: Path, kinds: Collection[str], what: str, default: str | None = None
) -> Place:
    """A folder, relative to ``beside``, or a hub id with an optional @revision; UsageError on another kind.

    ``what`` it is the place of, for the error; ``default``: the kind where none is said.
    """
    parts = _SOURCE.fullmatch(given)
    kind, source = parts.groups() if parts else (None, given)
    kind = kind or default
    if kind is None or kind not in kinds:
        raise UsageError(
            f"{what} {given!r} is of no known kind; have {', '.join(kinds)}, "
            + ("or put ./ before a folder's name." if default else "as KIND:SOURCE.")
        )
    folder = (beside / Path(source).expanduser()).resolve()
    return Place(str(folder), kind=kind) if folder.is_dir() else Place(*source_and_revision(source), kind)
