"""Search by meaning: names and a text side by side in the space of an image-text model.

The model is loaded when first asked, in the caller's thread; what it made of a name is kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from namesae.dictionaries import Listed
from sae.card import BackboneSpec, DictionaryCard
from sae.errors import NoTextTower
from sae.statistics import unit_rows
from sae.whole_file import whole_file
from tools.digest import digest
from tools.errors import DependencyError, UsageError
from tools.protocols import Floats

if TYPE_CHECKING:
    from sae.backbone import VisionBackbone

BATCH = 256
PATIENCE_S = 20.0
"""Longest that one request reads names for."""
KEEP_FROM = 500
"""Names newly read from which all are written down again."""
CENTRED_FROM = 16
"""Names from which what all of them share is taken off."""
MOST_SPACES = 4
_ROWS, _NAMES = "rows", "names"
READERS = ("open_clip", "transformers")
"""Kinds of models of which some read texts."""


class StillReading(DependencyError):
    """The names of a large dictionary are read in several requests (503)."""

    def __init__(self, read: int, names: int) -> None:
        super().__init__(
            f"{read:,} of {names:,} names are read for the search by meaning; search again to continue."
        )
        self.retry_after_s = 1


class _Space(NamedTuple):
    """Names that were read, for comparisons."""

    middle: Floats
    """(d,) what they have in common."""
    rows: Floats
    """(n, d) of unit length, what they have in common taken off."""


def may_read(card: DictionaryCard | None) -> bool:
    """Whether a model beside the dictionary may read texts, as far as its kind says."""
    return card is not None and (card.tagger or card.backbone).kind in READERS


def reader_of(listed: Listed) -> BackboneSpec:
    """The model beside a dictionary that may read texts; UsageError where there is none."""
    if listed.card is None or listed.folder is None or not may_read(listed.card):
        raise no_reader(listed.name)
    return (listed.card.tagger or listed.card.backbone).located(listed.folder)


def no_reader(dictionary: str) -> UsageError:
    """What is said where no model reads texts."""
    return UsageError(f"No model beside dictionary {dictionary!r} reads texts; search it by name.")


class Meanings:
    """One image-text model and the names it has read. Threads may share it."""

    def __init__(self, spec: BackboneSpec, folder: Path) -> None:
        """``folder``: where what was read is kept."""
        self.spec, self._folder = spec, folder
        self._lock = Lock()
        self._model: VisionBackbone | None = None
        self._read: dict[str, Floats] = {}
        self._unkept = 0
        self._spaces: dict[tuple[str, ...], _Space] = {}

    def cosines(self, text: str, names: tuple[str, ...]) -> Floats:
        """(len(names),) of a text with different names, less what all of these have in common.

        NoTextTower where the model reads no texts; StillReading where there are more names than one request
        can read.
        """
        with self._lock:
            self._open()
            if names not in self._spaces:
                self._read_all(names)
            space = self._space_of(names)
            wanted = unit_rows(self._embedded([text]) - space.middle)[0]
        found: Floats = space.rows @ wanted
        return found

    def _open(self) -> VisionBackbone:
        if self._model is None:
            from sae.backbone import load_backbone
            from tools.device import best_device
            from tools.scoring import translated

            with translated():
                model = load_backbone(self.spec, device=best_device())
            if not model.has_text:
                raise NoTextTower(f"Model {Path(self.spec.source).name} reads no texts; search by name.")
            self._read = self._kept()
            self._model = model
        return self._model

    def _read_all(self, names: Sequence[str]) -> None:
        missing = [name for name in dict.fromkeys(names) if name not in self._read]
        until = time.monotonic() + PATIENCE_S
        for start in range(0, len(missing), BATCH):
            chunk = missing[start : start + BATCH]
            self._read |= dict(zip(chunk, self._embedded(chunk), strict=True))
            self._unkept += len(chunk)
            if time.monotonic() > until and start + BATCH < len(missing):
                self._keep()
                raise StillReading(len(names) - len(missing) + start + BATCH, len(names))
        if self._unkept >= KEEP_FROM:
            self._keep()

    def _embedded(self, texts: Sequence[str]) -> Floats:
        """(n, d) unit rows."""
        from namesae.facts import embed_texts

        rows: Floats = unit_rows(embed_texts(self._open(), texts))
        return rows

    def _space_of(self, names: tuple[str, ...]) -> _Space:
        space = self._spaces.get(names)
        if space is None:
            rows = np.stack([self._read[name] for name in names])
            # Few names have in common what makes them what they are.
            middle = rows.mean(axis=0) if len(names) >= CENTRED_FROM else np.zeros_like(rows[0])
            if len(self._spaces) >= MOST_SPACES:
                del self._spaces[next(iter(self._spaces))]
            space = self._spaces[names] = _Space(middle, unit_rows(rows - middle))
        return space

    @property
    def _path(self) -> Path:
        told = digest(reader=self.spec.model_dump(mode="json"), changed=_changed(self.spec))
        return self._folder / f"{told}.safetensors"

    def _keep(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        rows = np.stack([*self._read.values()]).astype(np.float16)
        with whole_file(self._path) as partial:
            save_file({_ROWS: rows}, partial, metadata={_NAMES: json.dumps([*self._read])})
        self._unkept = 0

    def _kept(self) -> dict[str, Floats]:
        try:
            with safe_open(self._path, framework="numpy") as held:
                names = json.loads(held.metadata()[_NAMES])
                rows = unit_rows(held.get_tensor(_ROWS).astype(np.float32))
                return dict(zip(names, rows, strict=True))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            # What is not there, or not whole, is read again.
            return {}


def _changed(spec: BackboneSpec) -> list[list[object]]:
    """Names, sizes and times of a local model's files: another model in its place reads anew."""
    folder = Path(spec.source)
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
