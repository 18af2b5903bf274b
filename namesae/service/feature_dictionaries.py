"""The dictionaries that have a name, looked for on the disk only where something changed there."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from namesae.dictionaries import Damaged, Listed, built_folder, list_dictionaries, shipped_folder
from namesae.service.errors import NotFound
from sae.card import CARD_FILE
from tools.errors import IntegrityError

if TYPE_CHECKING:
    from namesae.settings import Settings

Cards = tuple[tuple[str, int, int], ...]
"""Path, size and time of change of every card."""


class Dictionaries:
    """What ``namesae.dictionaries.list_dictionaries`` finds. Threads may share it."""

    def __init__(self, settings: Settings, *, also: Sequence[Listed] = ()) -> None:
        """``also``: dictionaries without a name of their own, for those who may give a folder."""
        self._settings, self._also = settings, also
        self._roots = (built_folder(settings), shipped_folder(), settings.home / "dictionaries")
        self._lock = Lock()
        self._cards: Cards | None = None
        self._found: dict[str, Listed | Damaged] = {}

    def all(self) -> tuple[Listed | Damaged, ...]:
        """All, by name."""
        return tuple(self._known().values())

    def whole(self) -> tuple[Listed, ...]:
        """Those that can be used, by name."""
        return tuple(each for each in self.all() if isinstance(each, Listed))

    def find(self, name: str) -> Listed:
        """One by its name, never by a path; NotFound says what there is, IntegrityError what is damaged."""
        known = self._known()
        found = known.get(name)
        if found is None:
            near = difflib.get_close_matches(name[:200], known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}."
            raise NotFound(f"Dictionary {name[:200]!r} does not exist; {hint}")
        if isinstance(found, Damaged):
            raise IntegrityError(fault_of(found))
        return found

    def _known(self) -> dict[str, Listed | Damaged]:
        cards = self._on_disk()
        with self._lock:
            if cards != self._cards:
                found = (*self._also, *list_dictionaries(self._settings))
                self._found = {each.name: each for each in found}
                self._cards = cards
            return self._found

    def _on_disk(self) -> Cards:
        found = [path for root in self._roots for path in root.glob(f"*/{CARD_FILE}")]
        return tuple(sorted(_told(path) for path in found))


def fault_of(damaged: Damaged) -> str:
    """Why it cannot be used, without where it lies."""
    return damaged.reason.replace(str(damaged.folder), damaged.name)


def _told(path: Path) -> tuple[str, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), stat.st_size, stat.st_mtime_ns
