"""The folders of evaluations under the data directory, read once while nothing in them changes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from evals.cell import Cell
from evals.results import RUN_FILE, Results, RunRecord
from evals.scoreboard import Scoreboard
from namesae import __version__
from namesae.service.errors import NotFound
from namesae.service.orders import SafeId
from sae.feature import Frozen
from sae.whole_file import whole_file
from tools.digest import digest

BOARD_FILE = "scoreboard.json"
KEPT = 4
"""Evaluations whose cells are kept in memory."""
Kept = TypeVar("Kept")
_ID: TypeAdapter[str] = TypeAdapter(SafeId)


class Held(NamedTuple):
    """An evaluation in memory."""

    signature: tuple[tuple[str, int], ...]
    record: RunRecord
    cells: tuple[Cell, ...]


class Counted(NamedTuple):
    """Cells by their files, none of them read."""

    cells: int
    changed: float | None
    """When the last one was filled, seconds since the epoch."""


class _Summed(NamedTuple):
    """A scoreboard in memory."""

    held: Held
    """What it is of."""
    board: Scoreboard
    until: float
    """When it has to be of what is there then, on the monotonic clock."""


class _Stored(Frozen):
    """A scoreboard on disk."""

    stamp: str
    board: Scoreboard


class EvaluationFolders:
    """Results by the name of their folder; safe to call from several threads at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._held: dict[str, Held] = {}
        self._boards: dict[str, _Summed] = {}
        self.patience = 5.0
        self._reading, self._summing = threading.Lock(), threading.Lock()

    def names(self) -> tuple[str, ...]:
        """Of all folders that hold an evaluation."""
        try:
            found = [path.name for path in self.root.iterdir() if (path / RUN_FILE).is_file()]
        except OSError:
            return ()
        return tuple(sorted(name for name in found if is_safe(name)))

    def record(self, name: str) -> RunRecord | None:
        """What the folder holds results of; None where it holds none."""
        folder = self.folder(name)
        return Results(folder).record() if (folder / RUN_FILE).is_file() else None

    def folder(self, name: str) -> Path:
        """Where the results lie. NotFound for what can be no name of a folder."""
        if not is_safe(name):
            raise missing(name)
        return self.root / name

    def counted(self, name: str) -> Counted:
        """How far the evaluation is."""
        parts = _cell_folders(self.folder(name))
        return Counted(
            sum(each.files for each in parts), max((each.at / 1e9 for each in parts), default=None)
        )

    def read(self, name: str) -> Held:
        """From memory while the folder is as it was, else from its files. NotFound where no cell is there."""
        signature = self._signature(name)
        held = self._held.get(name)
        if held is not None and held.signature == signature:
            return held
        with self._reading:
            held = self._held.pop(name, None)
            if held is None or held.signature != signature:
                held = self._load(name, signature)
            _keep(self._held, name, held)
            return held

    def board(self, name: str) -> Scoreboard:
        """Every figure of an evaluation. NotFound as ``read``.

        Computed once, and kept beside the cells for the next process. While cells come in, it may lag behind
        by ``patience`` times what computing it takes.
        """
        held = self.read(name)
        with self._summing:
            known = self._boards.get(name)
            if known is not None and (known.held is held or time.monotonic() < known.until):
                return known.board
            began = time.monotonic()
            board = self._kept_board(name, held) or self._summed(name, held)
            now = time.monotonic()
            _keep(self._boards, name, _Summed(held, board, now + self.patience * (now - began)))
            return board

    def _kept_board(self, name: str, held: Held) -> Scoreboard | None:
        """What an earlier process computed from the same cells."""
        try:
            told = _Stored.model_validate_json((self.folder(name) / BOARD_FILE).read_bytes())
        except (OSError, ValueError):
            return None
        return told.board if told.stamp == _stamp(held) else None

    def _summed(self, name: str, held: Held) -> Scoreboard:
        from evals.report import board_of

        folder = self.folder(name)
        board = board_of(held.cells, held.record, sanity=Results(folder).sanity())
        # A folder that cannot be written to can be read all the same.
        with contextlib.suppress(OSError), whole_file(folder / BOARD_FILE) as partial:
            partial.write_text(_Stored(stamp=_stamp(held), board=board).model_dump_json(), encoding="utf-8")
        return board

    def _load(self, name: str, signature: tuple[tuple[str, int], ...]) -> Held:
        record = self.record(name)
        if record is None:
            raise missing(name)
        cells = tuple(Results(self.folder(name)).cells(record))
        if not cells:
            raise NotFound(f"Evaluation {name} has no cell yet; look again in a minute.")
        return Held(signature, record, cells)

    def _signature(self, name: str) -> tuple[tuple[str, int], ...]:
        """Changes when a cell is added or replaced: both rename a file into its condition's folder."""
        folder = self.folder(name)
        try:
            begun = (folder / RUN_FILE).stat().st_mtime_ns
        except OSError:
            return ()
        return (("", begun), *((each.name, each.at) for each in _cell_folders(folder)))


def _stamp(held: Held) -> str:
    return digest(version=__version__, signature=held.signature)


def is_safe(name: str) -> bool:
    """Whether an id can be the name of a folder."""
    try:
        return bool(_ID.validate_python(name))
    except ValidationError:
        return False


def missing(name: str) -> NotFound:
    """What is said of an evaluation that does not exist."""
    return NotFound(f"Evaluation {name[:60]!r} does not exist; GET /api/v1/evals lists them.")


def _keep(held: dict[str, Kept], name: str, each: Kept) -> None:
    """The latest few are kept."""
    held.pop(name, None)
    held[name] = each
    for oldest in tuple(held)[:-KEPT]:
        del held[oldest]


class _CellFolder(NamedTuple):
    """The cells of one condition."""

    name: str
    files: int
    at: int
    """When it last changed, ns since the epoch."""


def _cell_folders(folder: Path) -> list[_CellFolder]:
    try:
        parts = sorted(os.scandir(folder / "cells"), key=lambda each: each.name)
    except OSError:
        return []
    return [
        _CellFolder(part.name, sum(1 for _ in Path(part.path).glob("*.json")), part.stat().st_mtime_ns)
        for part in parts
        if part.is_dir()
    ]
